import { createHash, randomBytes } from 'node:crypto';
import { v7 } from 'uuid';

/** A new time-ordered id (RFC 9562 UUID version 7), used as primary key everywhere. */
export function newId(): string {
  return v7();
}

/** A random URL-safe token with `bytes` bytes of entropy (16 bytes print as 22 characters). */
export function newToken(bytes = 16): string {
  return randomBytes(bytes).toString('base64url');
}

/** Hex SHA-256 of a text; used for content versions, digests and tokens at rest. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
