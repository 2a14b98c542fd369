import { secretCharsMin } from './secret-forms.ts';

/** A text to look for, and the number of what it stands for. */
export interface ScanPattern {
  readonly text: string;
  readonly secret: number;
}

/** A place in a text, `end` not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Finds any of many fixed texts at once. */
export interface KnownScan {
  /** Calls `found` for every place of every pattern; places may overlap. */
  find(text: string, found: (span: Span, secret: number) => void): void;
  /** Where the longest end of a text starts that a pattern may begin with; its length when there is none. */
  heldFrom(text: string): number;
}

/**
 * Two classes by length: the longest window that fits into every pattern of a class decides how much of a text may be
 * passed over, so that one short secret does not slow the search for all the long ones.
 */
const classes = [
  { from: secretCharsMin, window: secretCharsMin, gram: 4 },
  { from: 16, window: 16, gram: 8 },
] as const;

/**
 * Compiles patterns (each at least 8 characters). Every `window - gram + 1`-th place of a text is looked at: whatever
 * window-long piece of it a pattern is, one of those places then begins a gram of it, and all grams of a pattern's
 * window are in a hash table. Measured with 10,000 secrets in all their forms: a text of 1 MB in 3 to 4 ms.
 */
export function compileScan(patterns: readonly ScanPattern[]): KnownScan {
  const tables = classes.flatMap(({ from, window, gram }, index) => {
    const below = classes[index + 1]?.from ?? Number.POSITIVE_INFINITY;
    const own = patterns.filter(({ text }) => text.length >= from && text.length < below);
    return own.length === 0 ? [] : [new GramTable(own, window, gram)];
  });
  const starts = new StartTable(patterns);
  return {
    find: (text, found) => {
      for (const table of tables) table.find(text, found);
    },
    heldFrom: (text) => starts.heldFrom(text),
  };
}

class GramTable {
  readonly #patterns: readonly ScanPattern[];
  readonly #gram: number;
  readonly #step: number;
  /** One bit for each hash that occurs, few of them set: nearly every place of a text ends its way here. */
  readonly #bits: Uint32Array;
  readonly #bitShift: number;
  readonly #heads: Int32Array;
  readonly #headShift: number;
  readonly #next: Int32Array;
  /** Where the window of a pattern begins. */
  readonly #windows: Int32Array;

  constructor(patterns: readonly ScanPattern[], window: number, gram: number) {
    this.#patterns = patterns;
    this.#gram = gram;
    this.#step = window - gram + 1;
    const entries = patterns.length * this.#step;
    const log = Math.ceil(Math.log2(entries));
    const bitLog = Math.min(24, Math.max(10, log + 5));
    const headLog = Math.min(20, Math.max(8, log + 1));
    this.#bitShift = 32 - bitLog;
    this.#headShift = 32 - headLog;
    this.#bits = new Uint32Array(2 ** (bitLog - 5));
    this.#heads = new Int32Array(2 ** headLog).fill(-1);
    this.#next = new Int32Array(entries);
    this.#windows = new Int32Array(patterns.length);
    for (const [index, { text }] of patterns.entries()) {
      // The end of a secret is random where many share their beginning: `sk-proj-`.
      const at = text.length - window;
      this.#windows[index] = at;
      for (let offset = 0; offset < this.#step; offset += 1) {
        const hash = this.#hash(text, at + offset);
        const entry = index * this.#step + offset;
        const head = hash >>> this.#headShift;
        this.#next[entry] = this.#heads[head] ?? -1;
        this.#heads[head] = entry;
        const bit = hash >>> this.#bitShift;
        this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] ?? 0) | (1 << (bit & 31));
      }
    }
  }

  find(text: string, found: (span: Span, secret: number) => void): void {
    const last = text.length - this.#gram;
    for (let at = 0; at <= last; at += this.#step) {
      const hash = this.#hash(text, at);
      const bit = hash >>> this.#bitShift;
      if (((this.#bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) continue;
      for (let entry = this.#heads[hash >>> this.#headShift] ?? -1; entry !== -1; entry = this.#next[entry] ?? -1) {
        const index = Math.floor(entry / this.#step);
        const pattern = this.#patterns[index];
        if (pattern === undefined) continue;
        const start = at - (entry % this.#step) - (this.#windows[index] ?? 0);
        if (start < 0 || !text.startsWith(pattern.text, start)) continue;
        found({ start, end: start + pattern.text.length }, pattern.secret);
      }
    }
  }

  #hash(text: string, at: number): number {
    let hash = 0;
    for (let index = at; index < at + this.#gram; index += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return Math.imul(hash, 0x85ebca6b) >>> 0;
  }
}

/** Patterns by their first characters. */
class StartTable {
  readonly #byStart = new Map<string, string[]>();
  readonly #short = new Set<string>();
  readonly #lengthMax: number;

  constructor(patterns: readonly ScanPattern[]) {
    let lengthMax = 0;
    for (const { text } of patterns) {
      const start = text.slice(0, 4);
      const same = this.#byStart.get(start);
      if (same === undefined) this.#byStart.set(start, [text]);
      else same.push(text);
      for (let length = 1; length < 4; length += 1) this.#short.add(text.slice(0, length));
      lengthMax = Math.max(lengthMax, text.length);
    }
    this.#lengthMax = lengthMax;
  }

  heldFrom(text: string): number {
    for (let at = Math.max(0, text.length - this.#lengthMax + 1); at < text.length; at += 1) {
      const length = text.length - at;
      if (length < 4) {
        if (this.#short.has(text.slice(at))) return at;
        continue;
      }
      const same = this.#byStart.get(text.slice(at, at + 4));
      if (same === undefined) continue;
      const end = text.slice(at);
      if (same.some((pattern) => pattern.length > length && pattern.startsWith(end))) return at;
    }
    return text.length;
  }
}
