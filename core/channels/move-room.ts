import type { Db } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { markMigrated, redirectOutbox, rewriteKeys } from './move-room-store.ts';
import type { RoomPlace } from './room.ts';

/**
 * Follows a room to its new id (a Telegram group that became a supergroup): threads, sessions, lanes, open questions and
 * everything still to be said go on there, in one transaction. Safe to repeat, and to be called by the gateway and a
 * delivery at the same time: what a running turn still said to the old room is redirected by the next call.
 */
export async function moveRoom(
  deps: { readonly db: Db; readonly log: Log },
  from: RoomPlace,
  newRoom: string,
): Promise<void> {
  if (newRoom === from.room) return;
  const isNews = await deps.db.transaction().execute(async (tx) => {
    const isFirst = await markMigrated(tx, from, newRoom);
    if (isFirst) await rewriteKeys(tx, from, newRoom);
    await redirectOutbox(tx, from, newRoom);
    return isFirst;
  });
  if (isNews) deps.log.info({ ...from, newRoom }, 'room moved');
}
