import { isRunnable, type RunCommand, unknownCommand } from '../commands/command.ts';
import type { CommandDeps } from '../commands/command-deps.ts';
import type { Db } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import { toWellFormed } from '../kit/json.ts';
import type { Log } from '../kit/log.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import { looksLikePairingCode } from '../people/create-pairing-code.ts';
import { ensureOperator } from '../people/ensure-operator.ts';
import { identify } from '../people/identify.ts';
import { pairIdentity } from '../people/pair-identity.ts';
import type { Identity } from '../people/person.ts';
import { refuseCode, refuseOnce } from '../people/refuse-stranger.ts';
import { openThread } from '../sessions/open-thread.ts';
import type { Origin } from '../sessions/origin.ts';
import type { AcceptMessage } from '../turns/accept-message.ts';
import type { InboundEvent } from './inbound.ts';
import { markEvent } from './inbox-store.ts';
import type { KnownEvent } from './known-event.ts';

/** Longest text one message may carry, in UTF-16 units; platforms stay far below, our own API does not. */
const messageCharsMax = 200_000;

export interface RouteDeps {
  readonly db: Db;
  readonly log: Log;
  readonly acceptMessage: AcceptMessage;
  readonly runCommand: RunCommand;
  /** Answers a button press where the platform waits for it; best effort. */
  readonly acknowledge: CommandDeps['acknowledge'];
  /** What happens to a room or to an earlier message, whoever caused it; absent types have no effect. */
  readonly onRoomEvent: Partial<
    Record<'edit' | 'delete' | 'membership' | 'reaction', (inboxId: string, event: InboundEvent) => Promise<void>>
  >;
  /** What people do besides talking; absent types have no effect. */
  readonly onPersonEvent: Partial<Record<'form' | 'home', (known: KnownEvent) => Promise<void>>>;
  /** Takes a message that answers something the bot asked for. @returns false for any other message. */
  readonly takeAnswer: (known: KnownEvent) => Promise<boolean>;
  /** Channels whose every actor has proven to be the operator before the event was stored. */
  readonly operatorChannels: ReadonlySet<string>;
}

/**
 * Takes one stored event to its effect: a turn on a lane, a command, a verdict, a pairing, or nothing. The effect and
 * the end of the inbox row are one transaction, so a second routing of the same row does nothing.
 */
export async function routeInbound(deps: RouteDeps, inboxId: string, event: InboundEvent): Promise<void> {
  const { conversation, actor } = event;
  switch (event.type) {
    case 'edit':
    case 'delete':
    case 'membership':
    case 'reaction': {
      const handle = deps.onRoomEvent[event.type];
      if (handle === undefined) await markEvent(deps.db, inboxId, 'ignored');
      else await handle(inboxId, event);
      return;
    }
    default:
  }
  if (actor.isBot || actor.isAnonymous) {
    await markEvent(deps.db, inboxId, 'ignored');
    return;
  }
  if (event.type === 'message' && event.addressed === 'none') {
    await markEvent(deps.db, inboxId, 'ignored');
    return;
  }

  const key = {
    channel: conversation.channel,
    account: conversation.account,
    externalId: actor.externalId,
    displayName: toWellFormed(actor.displayName).slice(0, 200),
  };
  const identity = deps.operatorChannels.has(conversation.channel)
    ? await ensureOperator(deps.db, key)
    : await identify(deps.db, key);
  if (identity.person === undefined) return await meetStranger(deps, inboxId, event, identity);

  const thread = await openThread(deps.db, conversation);
  const origin: Origin = {
    ...conversation,
    personId: identity.person.id,
    identityId: identity.id,
    ...(event.messageId === undefined ? {} : { messageId: event.messageId }),
  };
  const known: KnownEvent = { inboxId, event, identity, person: identity.person, thread, origin };
  try {
    await routeKnown(deps, known);
  } catch (err) {
    if (!isAppError(err) || !err.isForChat) throw err;
    await reply(deps, known, err.text, 'warn');
  }
}

async function routeKnown(deps: RouteDeps, known: KnownEvent): Promise<void> {
  const { event } = known;
  switch (event.type) {
    case 'message':
      if (event.text.length > messageCharsMax) {
        throw new AppError('message.too_large', `This message has ${event.text.length} characters.`, {
          mend: `Send at most ${messageCharsMax}, or attach it as a file.`,
        });
      }
      if (event.text.trim() === '' && event.files.length === 0) {
        await markEvent(deps.db, known.inboxId, 'ignored');
        return;
      }
      if (await deps.takeAnswer(known)) return;
      return await deps.acceptMessage(known, { text: event.text, kind: 'message', files: event.files });
    case 'command':
      if (!isRunnable(event.name)) {
        if (event.conversation.kind === 'dm') throw unknownCommand(event.name);
        // In a group an unknown command is another bot's business.
        await markEvent(deps.db, known.inboxId, 'ignored');
        return;
      }
      return await deps.runCommand(known, event.name, event.args);
    case 'action':
      return await deps.runCommand(known, 'press', event.token);
    case 'stop':
      return await deps.runCommand(known, 'stop', '');
    case 'form':
    case 'home': {
      const handle = deps.onPersonEvent[event.type];
      if (handle === undefined) await markEvent(deps.db, known.inboxId, 'ignored');
      else await handle(known);
      return;
    }
    default:
      await markEvent(deps.db, known.inboxId, 'ignored');
  }
}

/** Pairs a stranger who brings a code; otherwise refuses once, in private only. */
async function meetStranger(deps: RouteDeps, inboxId: string, event: InboundEvent, identity: Identity): Promise<void> {
  const { conversation } = event;
  if (event.type === 'action') await deps.acknowledge(event, 'Only people I am paired with can decide this.', true);
  const code = pairingCodeIn(event);
  await deps.db.transaction().execute(async (tx) => {
    const isFirst = await markEvent(tx, inboxId, conversation.kind === 'dm' ? 'routed' : 'ignored');
    if (!isFirst || conversation.kind !== 'dm') return;
    const person = code === undefined ? undefined : await pairIdentity(tx, identity, code);
    const message = (markdown: string): NewMessage => ({
      key: `inbox:${inboxId}:reply`,
      conversation,
      importance: 'notice',
      body: { parts: [{ type: 'markdown', markdown }] },
    });
    if (person !== undefined) {
      deps.log.info({ identityId: identity.id, personId: person.id, role: person.role }, 'identity paired');
      await putMessages(tx, [
        message(`Welcome, ${person.displayName}. We are paired: write to me, or send /help to see what I can do.`),
      ]);
      return;
    }
    if (code !== undefined && (await refuseCode(tx, identity.id))) {
      await putMessages(tx, [message('That code is not valid any more. Ask whoever runs this bot for a new one.')]);
      return;
    }
    if (await refuseOnce(tx, identity.id)) {
      await putMessages(tx, [
        message('I only work for people I am paired with. If you have a code, send it as `/start CODE`.'),
      ]);
    }
  });
}

function pairingCodeIn(event: InboundEvent): string | undefined {
  if (event.type === 'command' && event.name === 'start' && event.args.trim() !== '') return event.args.trim();
  if (event.type === 'message' && looksLikePairingCode(event.text)) return event.text.trim();
  return undefined;
}

/** Answers an event with one message of the platform itself and ends it. */
async function reply(deps: RouteDeps, known: KnownEvent, markdown: string, level: 'info' | 'warn'): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    if (!(await markEvent(tx, known.inboxId, 'routed'))) return;
    await putMessages(tx, [
      {
        key: `inbox:${known.inboxId}:reply`,
        conversation: known.event.conversation,
        importance: 'notice',
        body: { parts: [{ type: 'notice', level, markdown }] },
      },
    ]);
  });
}
