import { isRunnable, type RunCommand, replyMessage, unknownCommand } from '../commands/command.ts';
import type { CommandDeps } from '../commands/command-deps.ts';
import { commandInWords } from '../commands/command-in-words.ts';
import type { Db } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import type { Log } from '../kit/log.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { ChannelAccess } from '../people/access.ts';
import { noteSeen } from '../people/note-seen.ts';
import { findSecret } from '../redaction/find-secret.ts';
import { openThread } from '../sessions/open-thread.ts';
import type { Origin } from '../sessions/origin.ts';
import type { AcceptMessage } from '../turns/accept-message.ts';
import { enterRoom } from './enter-room.ts';
import { ignoreEvent } from './ignore-event.ts';
import type { InboundEvent } from './inbound.ts';
import { markEvent } from './inbox-store.ts';
import type { KnownEvent } from './known-event.ts';
import { isLateCommand, offerLateCommand } from './late-command.ts';
import type { LoopFuse } from './loop-fuse.ts';
import { meetStranger } from './meet-stranger.ts';
import { refuseSecret } from './refuse-secret.ts';
import { whoIs } from './who-is.ts';

/** Longest text one message may carry, in UTF-16 units; platforms stay far below, our own API does not. */
const messageCharsMax = 200_000;

export interface RouteDeps {
  readonly db: Db;
  readonly log: Log;
  readonly acceptMessage: AcceptMessage;
  readonly runCommand: RunCommand;
  /** Answers a button press where the platform waits for it; best effort. */
  readonly acknowledge: CommandDeps['acknowledge'];
  /** Who this channel works for. */
  readonly access: ChannelAccess;
  /** Whom other channels work for: accounts there may be one person with an account here. */
  readonly accessOn: (channel: string) => ChannelAccess;
  readonly fuse: LoopFuse;
  /** What happens to a room or to an earlier message, whoever caused it; absent types have no effect. */
  readonly onRoomEvent: Partial<
    Record<'edit' | 'delete' | 'membership' | 'reaction', (inboxId: string, event: InboundEvent) => Promise<void>>
  >;
  /** What people do besides talking; absent types have no effect. */
  readonly onPersonEvent: Partial<Record<'form' | 'home', (known: KnownEvent) => Promise<void>>>;
  /** Takes a message that answers something the bot asked for. @returns false for any other message. */
  readonly takeAnswer: (known: KnownEvent) => Promise<boolean>;
  /** Takes the value of a secret that was asked for. @returns false for any other message or form. */
  readonly takeSecret: (known: KnownEvent) => Promise<boolean>;
  /** Channels of our own: their word that an actor had proven to be the operator is believed. */
  readonly operatorChannels: ReadonlySet<string>;
}

/**
 * Takes one stored event to its effect: a turn on a lane, a command, a verdict, a pairing, or nothing. The effect and
 * the end of the inbox row are one transaction, so a second routing of the same row does nothing.
 */
export async function routeInbound(deps: RouteDeps, inboxId: string, arrived: InboundEvent): Promise<void> {
  switch (arrived.type) {
    case 'edit':
    case 'delete':
    case 'membership':
    case 'reaction': {
      const handle = deps.onRoomEvent[arrived.type];
      if (handle === undefined) await ignoreEvent(deps.db, inboxId);
      else await handle(inboxId, arrived);
      return;
    }
    default:
  }
  const event = await enterRoom(deps, arrived);
  if (event === undefined) return await ignoreEvent(deps.db, inboxId);
  const who = await whoIs(deps, event);
  if (who === undefined) {
    await deps.acknowledge(event, 'I do not work in this room.', true);
    await markEvent(deps.db, inboxId, 'ignored');
    return;
  }
  const { identity, person } = who;
  if (person === undefined) return await meetStranger(deps, inboxId, event, { ...identity, person: undefined });

  const { conversation } = event;
  const [thread] = await Promise.all([
    openThread(deps.db, conversation, person.id),
    noteSeen(deps.db, identity.id, conversation),
  ]);
  const origin: Origin = {
    ...conversation,
    personId: person.id,
    identityId: identity.id,
    ...(event.messageId === undefined ? {} : { messageId: event.messageId }),
  };
  const known: KnownEvent = { inboxId, event, identity, person, thread, origin };
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
      return await routeMessage(deps, known, event);
    case 'command':
      return await routeCommand(deps, known, event);
    case 'action':
      return await deps.runCommand(known, 'press', event.token);
    case 'stop':
      return await deps.runCommand(known, 'stop', '');
    case 'form':
    case 'home': {
      if (event.type === 'form' && (await deps.takeSecret(known))) return;
      // What is typed into a form goes to an agent like any other answer.
      const secret = event.type === 'form' ? findSecret(Object.values(event.values).join('\n')) : undefined;
      if (secret !== undefined) return await refuseSecret(deps.db, known, secret);
      const handle = deps.onPersonEvent[event.type];
      if (handle === undefined) await markEvent(deps.db, known.inboxId, 'ignored');
      else await handle(known);
      return;
    }
    default:
      await markEvent(deps.db, known.inboxId, 'ignored');
  }
}

async function routeMessage(
  deps: RouteDeps,
  known: KnownEvent,
  event: Extract<InboundEvent, { type: 'message' }>,
): Promise<void> {
  if (event.text.length > messageCharsMax) {
    throw tooLong(event.text.length);
  }
  if (event.text.trim() === '' && event.files.length === 0) {
    await markEvent(deps.db, known.inboxId, 'ignored');
    return;
  }
  const secret = findSecret(event.text);
  if (secret !== undefined) {
    if (await deps.takeSecret(known)) return;
    return await refuseSecret(deps.db, known, secret);
  }
  if (await deps.takeAnswer(known)) return;
  const meant = event.addressed === 'mention' ? commandInWords(event.text) : undefined;
  if (meant !== undefined) {
    const { addressed: _addressed, text: _text, ...rest } = event;
    const command = { ...rest, ...meant, type: 'command' } as const;
    return await routeCommand(deps, { ...known, event: command }, command);
  }
  return await deps.acceptMessage(known, { text: event.text, kind: 'message', files: event.files });
}

async function routeCommand(
  deps: RouteDeps,
  known: KnownEvent,
  event: Extract<InboundEvent, { type: 'command' }>,
): Promise<void> {
  if (event.args.length > messageCharsMax) throw tooLong(event.args.length);
  if (!isRunnable(event.name)) {
    if (event.conversation.kind === 'dm') throw unknownCommand(event.name);
    // In a group an unknown command is another bot's business.
    await markEvent(deps.db, known.inboxId, 'ignored');
    return;
  }
  const secret = findSecret(event.args);
  if (secret !== undefined) return await refuseSecret(deps.db, known, secret);
  const now = new Date();
  if (isLateCommand(event, now)) return await offerLateCommand(deps.db, known, event, now);
  return await deps.runCommand(known, event.name, event.args);
}

function tooLong(characters: number): AppError {
  return new AppError('message.too_large', `This message has ${characters} characters.`, {
    mend: `Send at most ${messageCharsMax}, or attach it as a file.`,
  });
}

/** Answers an event with one message of the platform itself and ends it. */
async function reply(deps: RouteDeps, known: KnownEvent, markdown: string, level: 'info' | 'warn'): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    if (!(await markEvent(tx, known.inboxId, 'routed'))) return;
    await putMessages(tx, [replyMessage(known, { markdown, level })]);
  });
}
