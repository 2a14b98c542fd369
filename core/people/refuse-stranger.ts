import type { Tx } from '../kit/database.ts';
import { countWrongCode, markRefused } from './people-store.ts';

/** Wrong codes a stranger is answered for; after that the bot is silent, so that guessing tells nothing. */
const wrongCodesMax = 5;

/** Counts a wrong pairing code. @returns whether the stranger is still answered. */
export async function refuseCode(tx: Tx, identityId: string): Promise<boolean> {
  return (await countWrongCode(tx, identityId)) <= wrongCodesMax;
}

/** @returns whether this stranger is to be told; true only once, so that a public bot cannot be made to spam. */
export async function refuseOnce(tx: Tx, identityId: string): Promise<boolean> {
  return await markRefused(tx, identityId);
}
