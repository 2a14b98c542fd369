import type { Db, Tx } from '../kit/database.ts';
import { findReach, type Reach } from '../people/find-reach.ts';

/** Channels that are seen only while somebody has them open, and so announce nothing by themselves. */
const quietChannels = new Set(['console', 'web', 'file']);

/**
 * Where a person is written to in private: the conversation they used last, and if that is one that nobody may be
 * looking at, also the last one on a platform that tells them. Empty for somebody who cannot be reached.
 */
export async function findPrivatePlaces(db: Db | Tx, personId: string): Promise<readonly Reach[]> {
  const reaches = await findReach(db, personId);
  const [latest] = reaches;
  if (latest === undefined) return [];
  if (!quietChannels.has(latest.conversation.channel)) return [latest];
  const loud = reaches.find((reach) => !quietChannels.has(reach.conversation.channel));
  return loud === undefined ? [latest] : [latest, loud];
}
