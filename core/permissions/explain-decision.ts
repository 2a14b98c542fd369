import { AppError } from '../kit/errors.ts';
import { actionTable, isAction } from './actions.ts';
import type { Decision, PolicyDecision } from './decide.ts';

const resourceShownMax = 200;

/** One sentence for a person: what was decided and by what. */
export function explainDecision(decision: Decision): string {
  const what = `${titleOf(decision.action)} (${shorten(decision.resource)})`;
  switch (decision.effect) {
    case 'allow':
      return decision.rememberedBy === undefined
        ? `To ${what} is allowed by ${[...decision.agent.by, ...decision.person.by].join(', ')}.`
        : `To ${what} is allowed by a remembered answer.`;
    case 'ask':
      return decision.heldBack === undefined
        ? `To ${what} needs an approval: ${sidesWith(decision, 'ask').flatMap(reasonsOf).join('; ')}.`
        : `To ${what} needs an approval: ${decision.heldBack}.`;
    case 'deny':
      return `To ${what} is not allowed: ${sidesWith(decision, 'deny').flatMap(reasonsOf).join('; ')}.`;
  }
}

/** The error of a denied request, with who can change that; undefined unless it is denied. */
export function decisionError(decision: Decision): AppError | undefined {
  if (decision.effect !== 'deny') return undefined;
  const isForbidden = sidesWith(decision, 'deny').some((side) => side.by.length > 0);
  const subjects = sidesWith(decision, 'deny')
    .map((side) => side.subject)
    .join(' and of ');
  return new AppError('grant.missing', explainDecision(decision), {
    mend: isForbidden
      ? `An owner can change the deny grant of ${subjects}.`
      : `An owner can add a grant for ${decision.action} to those of ${subjects}.`,
    details: { action: decision.action },
  });
}

function sidesWith(decision: Decision, effect: 'ask' | 'deny'): PolicyDecision[] {
  return [decision.agent, decision.person].filter((side) => side.effect === effect);
}

function reasonsOf(side: PolicyDecision): string[] {
  const verb = side.effect === 'deny' ? 'denied' : 'to be asked for';
  if (side.by.length > 0) return [`${verb} by ${side.by.join(', ')}`];
  const near = side.near.map((miss) => `${miss.source} would apply, but ${miss.failed}`);
  return [`no grant of ${side.subject} covers it`, ...near];
}

function titleOf(action: string): string {
  return isAction(action) ? actionTable[action].title : `do the unknown ${action}`;
}

function shorten(text: string): string {
  return text.length <= resourceShownMax ? text : `${text.slice(0, resourceShownMax - 1)}…`;
}
