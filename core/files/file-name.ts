import { toWellFormed } from '../kit/json.ts';

/** Longest name in bytes; Linux allows 255, and a number may be added. */
const nameBytesMax = 120;

/**
 * A name that is safe as one path component, in a terminal and in a sentence: no separators, no control or direction
 * characters, no leading dots, at most 120 bytes, its ending kept.
 */
export function safeFileName(name: string): string {
  const flat = toWellFormed(name).normalize('NFC').replaceAll('\\', '/').split('/').at(-1);
  const clean = (flat ?? '')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}<>:"|?*`\ufffd]/gu, '')
    .replace(/\s+/g, ' ')
    .replace(/^[.\s-]+/, '')
    .replace(/[.\s]+$/, '');
  if (clean === '') return 'file';
  const { stem, ending } = splitName(clean);
  return cutBytes(stem, nameBytesMax - Buffer.byteLength(ending)) + ending;
}

/** `name`, or the first of `name (2)`, `name (3)`, … that nobody has. */
export function unusedName(name: string, taken: ReadonlySet<string>): string {
  const { stem, ending } = splitName(name);
  let found = name;
  for (let number = 2; taken.has(found); number += 1) found = `${stem} (${number})${ending}`;
  return found;
}

/** A size for people, such as `120 kB`. */
export function describeBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function splitName(name: string): { readonly stem: string; readonly ending: string } {
  const ending = /(?<=.)\.[\p{L}\p{N}]{1,10}$/u.exec(name)?.[0] ?? '';
  return { stem: name.slice(0, name.length - ending.length), ending };
}

function cutBytes(text: string, bytesMax: number): string {
  let cut = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax) break;
    cut += character;
  }
  return cut;
}
