import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { hashCode, newCode } from './code-text.ts';
import { countOpenPairingCodes, insertPairingCode } from './people-store.ts';
import type { PersonRole } from './person.ts';

const openCodesMax = 20;

/**
 * A new one-time code, stored only as a hash.
 * @throws AppError `command.invalid` when too many codes are already open.
 */
export async function createPairingCode(
  deps: { readonly db: Db },
  options: { readonly role: PersonRole; readonly createdBy?: string; readonly validMs: number },
): Promise<string> {
  if ((await countOpenPairingCodes(deps.db)) >= openCodesMax) {
    throw new AppError('command.invalid', `There are already ${openCodesMax} unused pairing codes.`, {
      mend: 'Use one of them, revoke them with /pair revoke, or wait until they expire.',
    });
  }
  const code = newCode();
  await insertPairingCode(deps.db, {
    codeHash: hashPairingCode(code),
    role: options.role,
    createdBy: options.createdBy,
    validMs: options.validMs,
  });
  return code;
}

/** The stored form of a pairing code. */
export function hashPairingCode(code: string): string {
  return hashCode('pairing', code);
}
