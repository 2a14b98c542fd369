import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { Log } from '../kit/log.ts';
import { tellOperators } from '../people/tell-operators.ts';
import type { RoomNote, RoomPlace } from './room.ts';
import { selectRoom, selectRooms, setMuted } from './room-store.ts';

/** Rooms one listing shows. */
const roomsMax = 500;

/** What is known of a room; undefined when nothing was ever noted, which means that it is active. */
export async function readRoom(db: Db | Tx, place: RoomPlace): Promise<RoomNote | undefined> {
  return await selectRoom(db, place);
}

/** Every room something was noted of. */
export async function listRooms(db: Db): Promise<readonly RoomNote[]> {
  return await selectRooms(db, roomsMax);
}

/** Takes nothing in from a room for a while, and tells the owners why. */
export async function muteRoom(
  deps: { readonly db: Db; readonly log: Log },
  place: RoomPlace,
  options: { readonly forMs: number; readonly reason: string },
): Promise<void> {
  const { channel, account, room } = place;
  deps.log.warn({ channel, account, room, ...options }, 'room muted');
  await deps.db.transaction().execute(async (tx) => {
    await setMuted(tx, place, options.forMs);
    await tellOperators(tx, {
      key: `muted:${newId()}`,
      level: 'warn',
      markdown: `I do not listen to the ${channel} room \`${room.replaceAll('`', "'")}\` for ${Math.round(options.forMs / 60_000)} minutes: ${options.reason}. \`./switchyard channel unmute ${channel} ${room}\` ends that sooner.`,
    });
  });
}

/** Listens to a room again. */
export async function unmuteRoom(db: Db, place: RoomPlace): Promise<void> {
  await setMuted(db, place, 0);
}
