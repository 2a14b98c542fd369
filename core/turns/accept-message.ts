import type { InboundFile } from '../inbox/inbound.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { newId } from '../kit/ids.ts';
import { toWellFormed } from '../kit/json.ts';
import type { AcceptedTurn, NewTurn } from '../lanes/lane.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import { openSession } from '../sessions/open-session.ts';
import type { AttachedFile, TurnPayload } from './turn-event.ts';

/** A message quiet for this long ends a `collect` run; the whole run waits at most `collectMaxMs`. */
const collectMs = 1500;
const collectMaxMs = 15_000;

/** What the agent reads before a message that others overtook on their way from the platform. */
const lateNote = '(Sent before the message above; it arrived late.)';

export interface AcceptMessageDeps {
  readonly db: Db;
  /** Stores the turn, ends its inbox row, and rings the bell when the lane was idle. */
  readonly acceptTurn: (turn: NewTurn) => Promise<Pick<AcceptedTurn, 'signal'>>;
  readonly defaultAgent: string;
  /** The active agent of a name or alias. */
  readonly findAgent: (name: string) => Promise<{ readonly name: string; readonly version: string } | undefined>;
}

export type AcceptMessage = (
  known: KnownEvent,
  message: { readonly text: string; readonly kind: 'message' | 'task'; readonly files: readonly InboundFile[] },
) => Promise<void>;

/**
 * Puts a message on the lane of its session: of the agent it names with `@name`, else of the thread's agent, else of
 * the default one. A task waits its turn; a message follows the thread's queue mode.
 */
export function createAcceptMessage(deps: AcceptMessageDeps): AcceptMessage {
  return async (known, message) => {
    const { agent, text } = await addressee(deps, known, toWellFormed(message.text));
    const session = await openSession(deps.db, {
      threadKey: known.thread.threadKey,
      agentName: agent.name,
      origin: known.origin,
    });
    const mode = message.kind === 'task' ? 'followup' : known.thread.queueMode;
    const { signal } = await deps.acceptTurn({
      turnId: newId(),
      sessionId: session.id,
      eventKey: `inbox:${known.inboxId}`,
      inboxId: known.inboxId,
      mode,
      kind: message.kind,
      agentName: agent.name,
      agentVersion: agent.version,
      origin: known.origin,
      payload: {
        text: known.event.isLate === true ? `${lateNote}\n${text}` : text,
        author: known.person.displayName,
        authorId: known.event.actor.externalId,
        ...(known.event.messageId === undefined ? {} : { messageId: known.event.messageId }),
        ...(message.files.length === 0 ? {} : { files: message.files.map(toAttachedFile) }),
      } satisfies TurnPayload,
      debounceMs: collectMs,
      maxWaitMs: collectMaxMs,
    });
    if (signal === 'waits') await putMessages(deps.db, [waitingNotice(known, session.id)]);
  };
}

/** Says why nothing happens: silence after a message reads like a fault. */
function waitingNotice(known: KnownEvent, sessionId: string): NewMessage {
  return {
    key: `inbox:${known.inboxId}:waits`,
    conversation: known.origin,
    importance: 'notice',
    sessionId,
    body: {
      parts: [
        {
          type: 'notice',
          level: 'info',
          markdown: 'I read this as soon as the request above is decided. `/approvals` shows it, `/stop` drops it.',
        },
      ],
    },
  };
}

async function addressee(
  deps: AcceptMessageDeps,
  known: KnownEvent,
  text: string,
): Promise<{ readonly agent: { readonly name: string; readonly version: string }; readonly text: string }> {
  const named = /^@([a-z][a-z0-9-]{0,31})[\s:,]+([\s\S]+)$/i.exec(text.trim());
  if (named?.[1] !== undefined && named[2] !== undefined) {
    const agent = await deps.findAgent(named[1].toLowerCase());
    // An unknown @name is left in the text: it may be a person's.
    if (agent !== undefined) return { agent, text: named[2] };
  }
  const chosen = known.thread.agentName === undefined ? undefined : await deps.findAgent(known.thread.agentName);
  const agent = chosen ?? (await deps.findAgent(deps.defaultAgent));
  if (agent === undefined) {
    throw new AppError('agent.unknown', `There is no agent "${deps.defaultAgent}" to work here.`, {
      mend: 'The operator can load one with ./switchyard apply.',
    });
  }
  return { agent, text };
}

/** An attached file as a turn keeps it. */
export function toAttachedFile({ name, fetchKey, mime, bytes }: InboundFile): AttachedFile {
  return {
    name: toWellFormed(name),
    fetchKey,
    ...(mime === undefined ? {} : { mime }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}
