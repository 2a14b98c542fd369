import { randomInt } from 'node:crypto';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { sha256 } from '../kit/ids.ts';
import { countOpenPairingCodes, insertPairingCode } from './people-store.ts';
import type { PersonRole } from './person.ts';

/** Crockford's base 32: no letters that read alike, so that a code survives being typed from a screen. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const codeLength = 8;
const openCodesMax = 20;

/**
 * A new one-time code, stored only as a hash; 40 bits that live an hour cannot be guessed at chat speed.
 * @throws AppError `command.invalid` when too many codes are already open.
 */
export async function createPairingCode(
  deps: { readonly db: Db },
  options: { readonly role: PersonRole; readonly createdBy?: string; readonly validMs: number },
): Promise<string> {
  if ((await countOpenPairingCodes(deps.db)) >= openCodesMax) {
    throw new AppError('command.invalid', `There are already ${openCodesMax} unused pairing codes.`, {
      mend: 'Use one of them or wait until they expire.',
    });
  }
  const code = Array.from({ length: codeLength }, () => alphabet[randomInt(alphabet.length)]).join('');
  await insertPairingCode(deps.db, {
    codeHash: hashPairingCode(code),
    role: options.role,
    createdBy: options.createdBy,
    validMs: options.validMs,
  });
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

/** The stored form of a code; case and dashes do not matter, O reads as 0 and I or L as 1. */
export function hashPairingCode(code: string): string {
  const plain = code
    .toUpperCase()
    .replaceAll(/[^0-9A-Z]/g, '')
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1');
  return sha256(`pairing:${plain}`);
}

/** Whether a text could be a pairing code at all, so that ordinary chatter is not taken for one. */
export function looksLikePairingCode(text: string): boolean {
  return /^[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}$/.test(text.trim());
}
