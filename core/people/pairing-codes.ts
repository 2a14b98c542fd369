import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import { deletePairingCodes, type OpenPairingCode, selectPairingCodes } from './code-store.ts';

/** Pairing codes that could still be used, the next to expire first. Codes themselves are kept nowhere. */
export async function listPairingCodes(db: Db | Tx): Promise<readonly OpenPairingCode[]> {
  return await selectPairingCodes(db);
}

/** Withdraws unused pairing codes: the one of an id, or all. @returns how many there were. */
export async function revokePairingCodes(tx: Tx, id: string | undefined, by: string): Promise<number> {
  const count = await deletePairingCodes(tx, id);
  if (count > 0) {
    await appendAudit(tx, [{ kind: 'pairing_code.revoked', chainKey: 'people', body: { count, by } }]);
  }
  return count;
}
