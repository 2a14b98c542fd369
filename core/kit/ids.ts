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

/** The id a text stands for, always the same, in the form of a UUID (RFC 9562 version 8, made of its SHA-256). */
export function idFrom(text: string): string {
  const hex = sha256(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
