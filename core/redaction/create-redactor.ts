import type { Span } from './known-scan.ts';
import type { Redactor, RedactorStream } from './redactor.ts';
import type { SecretBook } from './secret-book.ts';
import { findShapes, mayHoldShape, shapeHeldFrom } from './secret-shapes.ts';

interface Found extends Span {
  readonly label: string;
}

/** Bytes of pictures and files: nothing is said in them, and they are long. */
const binaryKeys = new Set(['dataBase64']);
/** A stream gives out a piece without any end of a word after this many characters. */
const heldCharsMax = 64 * 1024;

/** A redactor over the secrets of a book, as they are known at each call. */
export function createRedactor(deps: { readonly secrets: SecretBook }): Redactor {
  const { secrets } = deps;

  const find = (text: string): Found[] => {
    const found: Found[] = [];
    const { scan, labels } = secrets.compiled();
    scan?.find(text, (span, secret) => found.push({ ...span, label: labels[secret] ?? 'a secret' }));
    if (mayHoldShape(text)) findShapes(text, (span, label) => found.push({ ...span, label }));
    return found.length < 2 ? found : merge(found);
  };
  const redactText = (text: string): string => {
    if (text.length < 8) return text;
    const found = find(text);
    return found.length === 0 ? text : replace(text, found);
  };
  const redactJson = (value: unknown): unknown => {
    if (typeof value === 'string') return redactText(value);
    if (Array.isArray(value)) {
      const items = value.map(redactJson);
      return items.some((item, index) => item !== value[index]) ? items : value;
    }
    // Only plain objects: a date or a buffer is no text, and would lose what it is.
    if (value === null || typeof value !== 'object' || !isPlain(value)) return value;
    const entries = Object.entries(value);
    let isChanged = false;
    const redacted = entries.map(([key, item]): [string, unknown] => {
      const safeKey = redactText(key);
      const safe = binaryKeys.has(key) ? item : redactJson(item);
      if (safe !== item || safeKey !== key) isChanged = true;
      return [safeKey, safe];
    });
    return isChanged ? Object.fromEntries(redacted) : value;
  };
  const mayHold = (text: string): boolean => {
    let isKnown = false;
    secrets.compiled().scan?.find(text, () => {
      isKnown = true;
    });
    return isKnown || mayHoldShape(text);
  };

  return {
    text: redactText,
    // What comes back has the shape of what went in: only strings were replaced by strings.
    json: <T>(value: T): T => redactJson(value) as T,
    jsonText: (text) => {
      if (!mayHold(text)) return text;
      const value: unknown = JSON.parse(text);
      const redacted = redactJson(value);
      return redacted === value ? text : JSON.stringify(redacted);
    },
    stream: () => openStream(find, (text) => secrets.compiled().scan?.heldFrom(text) ?? text.length),
  };
}

function openStream(find: (text: string) => Found[], knownHeldFrom: (text: string) => number): RedactorStream {
  let held = '';
  return {
    push: (chunk) => {
      held += chunk;
      let cut = Math.min(knownHeldFrom(held), shapeHeldFrom(held));
      if (held.length - cut > heldCharsMax) cut = held.length - heldCharsMax;
      const found = find(held);
      // What is whole already but reaches into what is held back may be the beginning of something longer.
      for (const span of found) if (span.start < cut && span.end > cut) cut = span.start;
      const out = replace(
        held.slice(0, cut),
        found.filter((span) => span.end <= cut),
      );
      held = held.slice(cut);
      return out;
    },
    end: () => {
      const out = replace(held, find(held));
      held = '';
      return out;
    },
  };
}

/** Places in order; those that overlap become one, named after the first of them. */
function merge(found: Found[]): Found[] {
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  const merged: Found[] = [];
  for (const span of found) {
    const last = merged.at(-1);
    if (last === undefined || span.start >= last.end) merged.push(span);
    else if (span.end > last.end) merged[merged.length - 1] = { ...last, end: span.end };
  }
  return merged;
}

function replace(text: string, found: readonly Found[]): string {
  if (found.length === 0) return text;
  let out = '';
  let from = 0;
  for (const { start, end, label } of found) {
    out += `${text.slice(from, start)}[redacted: ${label}]`;
    from = end;
  }
  return out + text.slice(from);
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
