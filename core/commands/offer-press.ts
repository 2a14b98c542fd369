import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import { decideTools } from '../mcp/decide-tools.ts';
import type { Offer, OfferSubject } from '../offers/offer.ts';
import { type OfferOutcome, settleOffer } from '../offers/settle-offer.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { admit } from '../people/admit.ts';
import { findIdentity } from '../people/identify.ts';
import { mergeAfterConfirmation } from '../people/link-identity.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { RunCommand } from './command.ts';
import type { CommandDeps } from './command-deps.ts';
import type { PressHandler } from './press.ts';
import { carryOutSkillOffer, type SkillCommandDeps } from './skill-commands.ts';

interface OfferPressDeps extends SkillCommandDeps {
  readonly acknowledge: CommandDeps['acknowledge'];
  /** Carries out a command that its author still means. */
  readonly runCommand: RunCommand;
}

/** Presses of offers: letting somebody in, joining two people, a command that came late, tools of MCP servers, skills. */
export function offerPress(deps: OfferPressDeps): PressHandler {
  return async (known, token) => {
    const outcome = await deps.db.transaction().execute(async (tx) => await settle(tx, known, token));
    if (outcome === undefined) return false;
    const { event } = known;
    if (outcome.kind === 'refused') {
      await deps.acknowledge(event, outcome.text, true);
      return true;
    }
    const { id, subject } = outcome.offer;
    if (isSkillOffer(subject) && outcome.isAccepted) {
      await deps.acknowledge(event, 'On it.', false);
      await carryOutSkillOffer(deps, known, { id, subject });
      return true;
    }
    if (subject.kind === 'late_command' && outcome.isAccepted) {
      const { name, args, files, messageId } = subject;
      const base = { conversation: event.conversation, actor: event.actor, occurredAt: event.occurredAt };
      const command = {
        ...base,
        type: 'command' as const,
        name,
        args,
        files,
        ...(messageId === undefined ? {} : { messageId }),
        ...(event.interactionToken === undefined ? {} : { interactionToken: event.interactionToken }),
      };
      await deps.runCommand({ ...known, event: command }, name, args);
      return true;
    }
    await deps.acknowledge(event, outcome.isAccepted ? 'Done.' : 'Refused.', false);
    return true;
  };
}

async function settle(tx: Tx, known: KnownEvent, token: string): Promise<OfferOutcome | undefined> {
  const { inboxId, person, thread } = known;
  const outcome = await settleOffer(tx, { token, threadKey: thread.threadKey, person, inboxId });
  if (outcome === undefined) return undefined;
  // A command and a change of skills end the event themselves, with their effect.
  const endsItself = outcome.kind === 'settled' && outcome.isAccepted && bringsOwnEnd(outcome.offer.subject);
  if (endsItself || !(await endEvent(tx, inboxId, 'routed'))) return outcome;
  if (outcome.kind === 'settled') await carryOut(tx, known, outcome.offer, outcome.isAccepted);
  return outcome;
}

function bringsOwnEnd(subject: OfferSubject): boolean {
  return subject.kind === 'late_command' || isSkillOffer(subject);
}

function isSkillOffer(subject: OfferSubject): subject is Extract<OfferSubject, { kind: 'skill_add' | 'skill_remove' }> {
  return subject.kind === 'skill_add' || subject.kind === 'skill_remove';
}

async function carryOut(tx: Tx, known: KnownEvent, offer: Offer, isAccepted: boolean): Promise<void> {
  const { subject } = offer;
  const tell = async (
    conversation: Conversation,
    level: 'info' | 'success' | 'warn',
    markdown: string,
  ): Promise<void> =>
    await putMessages(tx, [
      {
        key: `offer:${offer.id}:outcome`,
        conversation,
        importance: 'notice',
        body: { parts: [{ type: 'notice', level, markdown }] },
      },
    ]);
  switch (subject.kind) {
    case 'admit': {
      const identity = await findIdentity(tx, subject.identityId);
      if (identity === undefined) return;
      if (!isAccepted) return await tell(subject.conversation, 'info', 'You were not let in.');
      const person = await admit(tx, identity, 'member', { by: `person ${known.person.id}` });
      return await tell(
        subject.conversation,
        'success',
        `Welcome, ${person.displayName}. You are let in: write to me, or send /help to see what I can do.`,
      );
    }
    case 'merge': {
      if (!isAccepted) return await tell(subject.conversation, 'info', 'Your two accounts were not joined.');
      const problem = await mergeAfterConfirmation(tx, subject, known.person);
      return problem === undefined
        ? await tell(
            subject.conversation,
            'success',
            'It was confirmed: this account and your other one are one person now.',
          )
        : await tell(subject.conversation, 'warn', problem);
    }
    case 'late_command':
    case 'skill_add':
    case 'skill_remove':
      return;
    case 'mcp_tools': {
      const { server, tools } = subject;
      // What changed meanwhile stays as it is and was announced again.
      await decideTools(tx, { server, tools, isApproved: isAccepted, personId: known.person.id, via: 'button' });
      return;
    }
  }
}
