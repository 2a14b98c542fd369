import type { Json } from '#core/kit/json.ts';

/**
 * Readers for what a server sent. Compatible servers leave out, rename and mistype fields the vendor's types promise, so
 * nothing is read through those types.
 */
export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return (value as Record<string, unknown>)[name];
}

/** A string field, or '' for anything else. */
export function textOf(value: unknown, name: string): string {
  const field = fieldOf(value, name);
  return typeof field === 'string' ? field : '';
}

/** A non-negative count, or 0 for anything else. */
export function countOf(value: unknown, name: string): number {
  const field = fieldOf(value, name);
  return typeof field === 'number' && Number.isFinite(field) && field > 0 ? Math.round(field) : 0;
}

/** An array field, or an empty one for anything else. */
export function listOf(value: unknown, name: string): readonly unknown[] {
  const field = fieldOf(value, name);
  return Array.isArray(field) ? field : [];
}

/** An index field, or undefined when the server left it out. */
export function indexOf(value: unknown, name: string): number | undefined {
  const field = fieldOf(value, name);
  return typeof field === 'number' && Number.isInteger(field) && field >= 0 ? field : undefined;
}

/** What `JSON.parse` produced is JSON by construction; this only tells the compiler so. */
export function asJson(parsed: unknown): Json {
  return parsed as Json;
}

/** Parses strictly; undefined for text that is not exactly one JSON value. */
export function parseJson(text: string): { readonly value: Json } | undefined {
  try {
    return { value: asJson(JSON.parse(text)) };
  } catch {
    return undefined;
  }
}
