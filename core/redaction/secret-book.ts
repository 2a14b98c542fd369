import { compileScan, type KnownScan, type ScanPattern } from './known-scan.ts';
import { formsOf, partsOf, secretCharsMin } from './secret-forms.ts';

/** A secret that must not be seen. */
export interface KnownSecret {
  /** Stands in its place; a name, never a part of the value. */
  readonly label: string;
  readonly value: string;
}

/** The secrets this process knows, by where it knows them from. */
export interface SecretBook {
  /**
   * Replaces what is known from one source. Values shorter than 8 characters are left out: they are ordinary words too
   * often. What is known before the call is known until it returns.
   */
  replace(source: string, secrets: readonly KnownSecret[]): void;
  /** Knows one more from now on, until its source is replaced. */
  add(source: string, secret: KnownSecret): void;
  /** A search for all of them, made when it is first needed after a change. */
  compiled(): CompiledBook;
}

/** What a book looked like at one time. */
interface CompiledBook {
  /** Undefined while nothing is known. */
  readonly scan: KnownScan | undefined;
  /** By the numbers that the scan gives. */
  readonly labels: readonly string[];
}

/** Opens an empty book. */
export function createSecretBook(): SecretBook {
  const sources = new Map<string, Map<string, string>>();
  let compiled: CompiledBook | undefined = { scan: undefined, labels: [] };
  const usable = (secrets: readonly KnownSecret[]): Map<string, string> =>
    new Map(
      secrets
        .filter(({ value }) => value.length >= secretCharsMin)
        .map(({ value, label }) => [value, label.replaceAll(/[^\w .:@-]/g, '_').slice(0, 80)]),
    );
  return {
    replace: (source, secrets) => {
      const next = usable(secrets);
      const before = sources.get(source);
      if (before !== undefined && isSame(before, next)) return;
      sources.set(source, next);
      compiled = undefined;
    },
    add: (source, secret) => {
      const known = sources.get(source) ?? new Map<string, string>();
      for (const [value, label] of usable([secret])) {
        if (known.has(value)) continue;
        known.set(value, label);
        compiled = undefined;
      }
      sources.set(source, known);
    },
    compiled: () => {
      compiled ??= compile(sources);
      return compiled;
    },
  };
}

function isSame(before: ReadonlyMap<string, string>, next: ReadonlyMap<string, string>): boolean {
  return before.size === next.size && [...next].every(([value, label]) => before.get(value) === label);
}

function compile(sources: ReadonlyMap<string, ReadonlyMap<string, string>>): CompiledBook {
  const labels: string[] = [];
  const patterns = new Map<string, ScanPattern>();
  for (const secrets of sources.values()) {
    for (const [value, label] of secrets) {
      const secret = labels.push(label) - 1;
      const texts = [value, ...partsOf(value)].flatMap(formsOf);
      for (const text of texts) if (!patterns.has(text)) patterns.set(text, { text, secret });
    }
  }
  return { scan: patterns.size === 0 ? undefined : compileScan([...patterns.values()]), labels };
}
