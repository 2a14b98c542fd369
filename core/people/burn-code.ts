import type { Tx } from '../kit/database.ts';
import { burnPairingCode, spendCode } from './code-store.ts';
import { hashCode } from './code-text.ts';
import type { Identity } from './person.ts';

/** Spoils a pairing or link code that others have read. @returns whether it was one that still worked. */
export async function burnCode(tx: Tx, code: string, identity: Identity): Promise<boolean> {
  const isPairing = await burnPairingCode(tx, hashCode('pairing', code), identity.id);
  const isLink = (await spendCode(tx, 'link', hashCode('link', code), identity.id)) !== undefined;
  return isPairing || isLink;
}
