import { randomInt } from 'node:crypto';
import { sha256 } from '../kit/ids.ts';

/** Crockford's base 32: no letters that read alike, so that a code survives being typed from a screen. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const codeLength = 8;

/** A new code of 40 bits, as `ABCD-EFGH`; one that lives an hour cannot be guessed at chat speed. */
export function newCode(): string {
  const code = Array.from({ length: codeLength }, () => alphabet[randomInt(alphabet.length)]).join('');
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

/**
 * The stored form of a code; case and dashes do not matter, O reads as 0 and I or L as 1. A code of one purpose is
 * worthless for another.
 */
export function hashCode(purpose: 'pairing' | 'link' | 'continue', code: string): string {
  const plain = code
    .toUpperCase()
    .replaceAll(/[^0-9A-Z]/g, '')
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1');
  return sha256(`${purpose}:${plain}`);
}

/** Whether a text could be a code at all, so that ordinary chatter is not taken for one. */
export function looksLikeCode(text: string): boolean {
  return /^[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}$/.test(text.trim());
}
