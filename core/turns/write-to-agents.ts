import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toWellFormed } from '../kit/json.ts';
import { acceptTurns } from '../lanes/accept-turns.ts';
import type { LaneWake, NewTurn } from '../lanes/lane.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import { openSession } from '../sessions/open-session.ts';
import { openThread } from '../sessions/open-thread.ts';
import type { Origin } from '../sessions/origin.ts';
import { peopleOfTurn } from './people-of-turn.ts';
import type { TurnPayload } from './turn-event.ts';
import { selectHopsOfTurn } from './turn-store.ts';

/** How often work may go from agent to agent before it has to be answered: two that thank each other never end. */
export const hopsMax = 3;

/** What one message to agents is, and for whom they then work. */
export interface AgentMessage {
  readonly text: string;
  /** Whose words these are, as people read it. */
  readonly author: string;
  /** Carried along whole: answers go to its thread, rights end where its person's do. */
  readonly origin: Origin;
  /** The turn that writes; undefined when a person does. */
  readonly turnId: string | undefined;
}

/** One agent that is written to. The same event key a second time changes nothing. */
export interface AgentRecipient {
  readonly name: string;
  readonly version: string;
  readonly eventKey: string;
}

/** How many agents the work of a turn has gone through before; 0 for a turn that a person began. */
export async function hopsOfTurn(db: Db | Tx, turnId: string): Promise<number> {
  return await selectHopsOfTurn(db, turnId);
}

/**
 * Puts a message on the lanes of agents, in the thread it comes from. Takes the lanes' locks, so it comes before what
 * locks anything else.
 * @returns the wakes that whoever commits rings.
 */
export async function writeToAgents(
  tx: Tx,
  message: AgentMessage,
  recipients: readonly AgentRecipient[],
): Promise<readonly LaneWake[]> {
  const { origin, turnId } = message;
  const thread = await openThread(tx, origin);
  const handOff = turnId === undefined ? undefined : await handOffOf(tx, turnId);
  const payload: TurnPayload = {
    text: toWellFormed(turnId === undefined ? message.text : `${handOffNote(message.author)}\n${message.text}`),
    author: toWellFormed(message.author),
    ...(handOff === undefined ? {} : { handOff }),
  };
  const turns: NewTurn[] = [];
  for (const { name, version, eventKey } of recipients) {
    const session = await openSession(tx, { threadKey: thread.threadKey, agentName: name, origin });
    turns.push({
      turnId: newId(),
      sessionId: session.id,
      eventKey,
      mode: 'followup',
      kind: 'message',
      agentName: name,
      agentVersion: version,
      origin,
      payload,
    });
  }
  const accepted = await acceptTurns(tx, turns);
  await putMessages(
    tx,
    turns.flatMap((turn, index) => (accepted[index]?.signal === 'waits' ? [waitingNotice(turn)] : [])),
  );
  return accepted.flatMap(({ wake }) => (wake === undefined ? [] : [wake]));
}

/** Says why an agent does not answer yet: the request it waits for is the same people's to decide. */
function waitingNotice({ eventKey, sessionId, agentName, origin }: NewTurn): NewMessage {
  return {
    key: `${eventKey}:waits`,
    conversation: origin,
    importance: 'notice',
    sessionId,
    body: {
      parts: [
        {
          type: 'notice',
          level: 'info',
          markdown: `${agentName} reads this as soon as its request above is decided. \`/approvals\` shows it.`,
        },
      ],
    },
  };
}

/** Everybody whose words led here: what one of them may not have done is not done behind another agent either. */
async function handOffOf(tx: Tx, turnId: string): Promise<NonNullable<TurnPayload['handOff']>> {
  const people = await peopleOfTurn(tx, turnId);
  return { hops: (await hopsOfTurn(tx, turnId)) + 1, people: people.map((id) => id ?? null) };
}

/** What the agent reads first: it would otherwise answer the other agent, who does not read along. */
function handOffNote(author: string): string {
  return `(From the agent "${author}". Your answer goes to the person it works for, in this thread.)`;
}
