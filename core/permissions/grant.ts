import { didYouMean } from '../kit/nearest-word.ts';
import { type Action, actionNames, actionTable, expandAction } from './actions.ts';
import { isTimeZone, parseHours } from './conditions.ts';
import type { GrantConditions, GrantItem } from './grant-item.ts';
import { type Pattern, toPattern } from './resource.ts';

export type Effect = 'allow' | 'ask' | 'deny';

/** One grant, ready to be matched for one action. */
export interface Grant {
  /** Where it is written: `agents/coder.md:12` or `role:member#2`. */
  readonly source: string;
  readonly effect: Effect;
  readonly action: Action;
  readonly patterns: readonly Pattern[];
  readonly except: readonly Pattern[];
  /** Who may decide; empty means the agent's own default. */
  readonly approvers: readonly string[];
  readonly when: GrantConditions | undefined;
}

/** What is wrong with a grant item; `path` leads to the value inside it. */
export interface GrantProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

const effects = ['allow', 'ask', 'deny'] as const;
const patternLengthMax = 1000;

/**
 * Compiles one item of `grants:` into one grant per action it names.
 * @param source where the item is written, for decisions and messages.
 */
export function compileGrant(
  item: GrantItem,
  source: string,
): { readonly grants: readonly Grant[]; readonly problems: readonly GrantProblem[] } {
  const problems: GrantProblem[] = [];
  const named = effects.filter((effect) => item[effect] !== undefined);
  const effect = named[0];
  if (effect === undefined || named.length > 1) {
    const found = named.length > 1 ? `this has ${named.join(' and ')}` : 'this has none';
    return { grants: [], problems: [{ path: [], message: `a grant has exactly one of allow, ask, deny; ${found}` }] };
  }
  const actions = new Set<Action>();
  listOf(item[effect]).forEach((name, index) => {
    const expanded = expandAction(name);
    for (const action of expanded) actions.add(action);
    if (expanded.length === 0) {
      const path = Array.isArray(item[effect]) ? [effect, index] : [effect];
      problems.push({ path, message: `unknown action "${name}"${didYouMean(name, actionNames)}` });
    }
  });
  checkPatterns(item, problems);
  checkApprovers(item, effect, problems);
  checkWhen(item.when, problems);
  const grants = [...actions].map((action) => ({
    source,
    effect,
    action,
    patterns: listOf(item.on).map((pattern) => toPattern(actionTable[action].resource, pattern)),
    except: (item.except ?? []).map((pattern) => toPattern(actionTable[action].resource, pattern)),
    approvers: listOf(item.to),
    when: item.when,
  }));
  return { grants: problems.length === 0 ? grants : [], problems };
}

/** Whether a text is a rule of who may decide: `role:…`, `person:<uuid>` or `requester`. */
export function isApproverRule(text: string): boolean {
  return /^(?:requester|role:(?:owner|admin|member)|person:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.test(text);
}

function checkPatterns(item: GrantItem, problems: GrantProblem[]): void {
  for (const key of ['on', 'except'] as const) {
    listOf(item[key]).forEach((pattern, index) => {
      if (pattern.length <= patternLengthMax) return;
      const path = Array.isArray(item[key]) ? [key, index] : [key];
      problems.push({ path, message: `a pattern has at most ${patternLengthMax} characters` });
    });
  }
}

function checkApprovers(item: GrantItem, effect: Effect, problems: GrantProblem[]): void {
  if (item.to === undefined) return;
  if (effect !== 'ask')
    problems.push({ path: ['to'], message: '"to" says who may decide, so it belongs to "ask" only' });
  listOf(item.to).forEach((rule, index) => {
    if (isApproverRule(rule)) return;
    problems.push({ path: Array.isArray(item.to) ? ['to', index] : ['to'], message: approverProblem(rule) });
  });
}

/** The message about a rule of who may decide that is none. */
export function approverProblem(rule: string): string {
  const known = ['requester', 'role:owner', 'role:admin', 'role:member'];
  return `"${rule}" does not say who may decide${didYouMean(rule, known)}; write role:owner, role:admin, role:member, person:<id> or requester`;
}

function checkWhen(when: GrantConditions | undefined, problems: GrantProblem[]): void {
  if (when === undefined) return;
  if (when.hours !== undefined && parseHours(when.hours) === undefined) {
    problems.push({ path: ['when', 'hours'], message: `hours are written like 08:00-18:00, not "${when.hours}"` });
  }
  if (when.tz !== undefined && !isTimeZone(when.tz)) {
    problems.push({ path: ['when', 'tz'], message: `unknown time zone "${when.tz}"; write it like Europe/Berlin` });
  }
  if (when.until !== undefined && !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})$/.test(when.until)) {
    problems.push({ path: ['when', 'until'], message: `until is written like 2027-01-31T18:00Z, not "${when.until}"` });
  } else if (when.until !== undefined && Number.isNaN(Date.parse(when.until))) {
    problems.push({ path: ['when', 'until'], message: `"${when.until}" is not a date` });
  }
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}
