import type { Db } from '../kit/database.ts';
import { createPairingCode } from './create-pairing-code.ts';
import { countPairedIdentities, deleteSetupCodes } from './people-store.ts';

/** Channels of our own, on which the operator needs no code. */
const ownChannels = ['console', 'web', 'file'];

/** A new installation may wait a day for its owner's phone. */
const setupCodeMs = 24 * 60 * 60_000;

/**
 * The owner's code printed at start, as long as nobody is paired on any channel but the product's own; undefined
 * afterwards. The codes of earlier starts stop working.
 */
export async function createSetupCode(deps: { readonly db: Db }): Promise<string | undefined> {
  if ((await countPairedIdentities(deps.db, ownChannels)) > 0) return undefined;
  await deleteSetupCodes(deps.db);
  return await createPairingCode(deps, { role: 'owner', validMs: setupCodeMs });
}
