import { appendAudit } from '../audit/append-audit.ts';
import { noteRoom } from '../channels/note-room.ts';
import { muteRoom, readRoom } from '../channels/read-room.ts';
import type { Db } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { type ChannelAccess, needsMention } from '../people/access.ts';
import { isPaired } from '../people/identify.ts';
import { isKnownThread } from '../sessions/is-known-thread.ts';
import type { InboundEvent } from './inbound.ts';
import { type LoopFuse, muteMs } from './loop-fuse.ts';
import { refusedPress } from './refused-press.ts';

export interface RoomDeps {
  readonly db: Db;
  readonly log: Log;
  readonly access: ChannelAccess;
  readonly fuse: LoopFuse;
  readonly acknowledge: (event: InboundEvent, text: string, isAlert: boolean) => Promise<void>;
}

/**
 * Whether an event is for us at all: said to us by a human we could know, in a room that is listened to, on an account
 * that is served. A room that was thought lost is heard from again, and so it is there.
 * @returns the event, in the room that its own moved to; undefined when nothing is to be done with it.
 */
export async function enterRoom(deps: RoomDeps, event: InboundEvent): Promise<InboundEvent | undefined> {
  const { access, db, log } = deps;
  const { conversation, actor } = event;
  if (access.accounts !== undefined && !access.accounts.includes(conversation.account)) {
    log.debug({ channel: conversation.channel, account: conversation.account }, 'account is not served');
    return undefined;
  }
  if (event.type === 'message' && event.addressed === 'none' && needsMention(access, conversation.room))
    return undefined;
  // People also talk to each other in threads; only one in which the bot was spoken to before is a talk with it.
  if (event.type === 'message' && event.addressed === 'thread' && needsMention(access, conversation.room)) {
    if (!(await isKnownThread(db, conversation))) return undefined;
  }
  const burnt = deps.fuse.count(event);
  if (actor.isBot || actor.isAnonymous || actor.isExternal === true) {
    if (burnt !== undefined) await mute(deps, event, burnt);
    if (event.type === 'action' && !actor.isBot) {
      await appendAudit(db, [refusedPress(event, actor.isAnonymous ? 'anonymous' : 'external')]);
    }
    if (!actor.isBot) await deps.acknowledge(event, 'I cannot tell who you are, so I do nothing for you here.', true);
    return undefined;
  }
  const note = await readRoom(db, conversation);
  // What people press or fill in answers something of ours: it can be no flood.
  const isTalk = event.type === 'message' || event.type === 'command';
  if (isTalk && note?.mutedUntil !== undefined && note.mutedUntil > new Date()) return undefined;
  if (burnt !== undefined) {
    // A stranger is not answered here, so there is no loop: they could only silence us for everybody else.
    const { channel, account } = conversation;
    if (await isPaired(db, { channel, account, externalId: actor.externalId })) await mute(deps, event, burnt);
    return undefined;
  }
  if (note === undefined || note.state === 'active') return event;
  if (note.state === 'migrated') {
    return note.migratedTo === undefined
      ? event
      : { ...event, conversation: { ...conversation, room: note.migratedTo } };
  }
  await db
    .transaction()
    .execute(async (tx) => await noteRoom({ tx, log }, conversation, 'active', 'somebody wrote from it'));
  return event;
}

async function mute(deps: RoomDeps, event: InboundEvent, reason: string): Promise<void> {
  const note = await readRoom(deps.db, event.conversation);
  if (note?.mutedUntil !== undefined && note.mutedUntil > new Date()) return;
  await muteRoom(deps, event.conversation, { forMs: muteMs, reason });
}
