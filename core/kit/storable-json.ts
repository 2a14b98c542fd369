import { type Json, jsonSchema, toWellFormed } from './json.ts';

/**
 * A value as Postgres can keep it in jsonb: without NUL and lone surrogates in any text or key, bigint as text,
 * undefined left out. Hostile input must not be able to make a write fail.
 */
export function storableJson(value: unknown): Json {
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item));
  return clean(jsonSchema.parse(JSON.parse(text)));
}

function clean(value: Json): Json {
  if (typeof value === 'string') return toWellFormed(value);
  if (Array.isArray(value)) return value.map(clean);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [toWellFormed(key), clean(item)]));
}
