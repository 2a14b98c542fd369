import type { Db } from '../kit/database.ts';
import { type OwnedLane, ownedLanes } from './lane-store.ts';

/** The lanes an owner has by the database, for comparison with those it knows of. */
export async function findOwnedLanes(db: Db, ownerId: string): Promise<readonly OwnedLane[]> {
  return ownedLanes(db, ownerId);
}
