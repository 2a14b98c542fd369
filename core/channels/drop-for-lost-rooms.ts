import type { Db } from '../kit/database.ts';
import { dropForClosedRooms } from './room-store.ts';

/** Gives up what work still wrote for rooms that were closed to us meanwhile; without it they would be tried for a day. */
export async function dropForLostRooms(deps: { readonly db: Db }): Promise<number> {
  return await dropForClosedRooms(deps.db);
}
