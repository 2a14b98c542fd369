import { z } from 'zod';

/** Any value that survives JSON unchanged. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/**
 * JSON text with object keys sorted at every level, so that equal values have equal texts.
 * Approval digests and content versions are computed over it.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}

/** Makes a text storable: lone surrogates become U+FFFD and NUL, which Postgres text refuses, is dropped. */
export function toWellFormed(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '');
}

/**
 * JSON text that `jsonb` accepts whatever the value holds: NUL is dropped and lone surrogates become U+FFFD. Stringify
 * escapes only those two, so working on the text reaches every nested string, keys included.
 */
export function toStorableJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1')
    .replaceAll(/(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g, '$1\\ufffd');
}

/** Accepts any JSON value and types it. */
export const jsonSchema: z.ZodType<Json> = z.json();
