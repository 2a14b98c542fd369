import { moveRoom } from '../channels/move-room.ts';
import { noteRoom } from '../channels/note-room.ts';
import type { RoomState } from '../channels/room.ts';
import type { Db } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { findSecret } from '../redaction/find-secret.ts';
import { type AmendDeps, deleteMessage, editMessage } from '../turns/amend-message.ts';
import type { InboundEvent } from './inbound.ts';
import { forgetRaw, markEvent } from './inbox-store.ts';
import type { RouteDeps } from './route-inbound.ts';

type Membership = Extract<InboundEvent, { type: 'membership' }>;

const stateAfter: Readonly<Record<Exclude<Membership['change'], 'migrated'>, Exclude<RoomState, 'migrated'>>> = {
  joined: 'active',
  unblocked: 'active',
  unarchived: 'active',
  left: 'left',
  blocked: 'blocked',
  archived: 'archived',
};

const reasons: Readonly<Record<Membership['change'], string>> = {
  joined: 'the bot was added',
  unblocked: 'the bot was unblocked',
  unarchived: 'the room was opened again',
  left: 'the bot was removed',
  blocked: 'the bot was blocked',
  archived: 'the room was archived',
  migrated: 'it has a new id',
};

/** What happens to rooms, and to messages that were said before. */
export function createRoomEvents(deps: AmendDeps & { readonly db: Db; readonly log: Log }): RouteDeps['onRoomEvent'] {
  return {
    edit: async (inboxId, event) => {
      if (event.type !== 'edit') return;
      // The turn keeps its old text, and we do not keep the new one.
      if (findSecret(event.text) !== undefined) {
        await forgetRaw(deps.db, inboxId);
        await markEvent(deps.db, inboxId, 'ignored');
        return;
      }
      await editMessage(deps, inboxId, event);
    },
    delete: async (inboxId, event) => {
      if (event.type === 'delete') await deleteMessage(deps, inboxId, event);
    },
    membership: async (inboxId, event) => {
      if (event.type === 'membership') await changeMembership(deps, inboxId, event);
    },
  };
}

async function changeMembership(
  deps: { readonly db: Db; readonly log: Log },
  inboxId: string,
  event: Membership,
): Promise<void> {
  const { db, log } = deps;
  const { conversation, change, newRoom } = event;
  const place = { channel: conversation.channel, account: conversation.account, room: conversation.room };
  if (change === 'migrated') {
    if (newRoom !== undefined) await moveRoom(deps, place, newRoom);
    await markEvent(db, inboxId, newRoom === undefined ? 'ignored' : 'routed');
    return;
  }
  await db.transaction().execute(async (tx) => {
    if (!(await markEvent(tx, inboxId, 'routed'))) return;
    await noteRoom({ tx, log }, place, stateAfter[change], reasons[change]);
  });
}
