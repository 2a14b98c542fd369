import { fileTypeFromBuffer } from 'file-type';

/** Enough for every signature; containers are looked into no further, so that nothing is ever unpacked. */
const sampleBytes = 4_100;

/**
 * What a file is by its content; what was declared is believed only where the content is text and so was the claim.
 */
export async function sniffMime(bytes: Uint8Array, declared?: string): Promise<string> {
  const sample = bytes.subarray(0, sampleBytes);
  // A signature that is cut off makes the parser throw; the file is then simply unknown.
  const found = await fileTypeFromBuffer(sample).catch(() => undefined);
  if (found !== undefined) return found.mime;
  if (readText(bytes) === undefined) return 'application/octet-stream';
  const claim = (declared ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  return /^(?:text\/[a-z0-9.+-]{1,60}|application\/(?:json|xml|yaml|x-ndjson|toml|sql))$/.test(claim)
    ? claim
    : 'text/plain';
}

/** The content as text; undefined when it is not UTF-8 or holds what no text does. */
export function readText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return /[\u0000-\u0008\u000b\u000e-\u001a\u001c-\u001f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
