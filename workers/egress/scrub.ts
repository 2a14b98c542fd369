import { Transform } from 'node:stream';

/** Shorter values are in too many innocent texts to be looked for. */
const valueBytesMin = 6;
const asterisk = '*'.charCodeAt(0);

/** Takes values that were put into a request out of what comes back. */
export interface Scrubber {
  text(text: string): string;
  /** The same bytes, overwritten in place; where they were cut off, also the beginning of a value at their end. */
  bytes(bytes: Buffer, isCut: boolean): Buffer;
  /** For bytes that come in pieces; every piece comes out as long as it went in. */
  stream(): Transform;
}

/**
 * A scrubber for these values in the forms in which they come back from servers that show what they were sent: as they
 * are, in base64 (plain and for URLs, at each of its three alignments), percent-encoded, JSON- and HTML-escaped, in hex,
 * and in two-byte text. What is found is overwritten with `*`, so that lengths stay true.
 */
export function createScrubber(values: readonly string[]): Scrubber {
  const forms = distinct(values.filter((value) => Buffer.byteLength(value) >= valueBytesMin).flatMap(formsOf));
  const byFirst = Map.groupBy(forms, (form) => form[0] ?? 0);
  const longest = Math.max(0, ...forms.map((form) => form.length));
  return {
    text: (text) => {
      const bytes = Buffer.from(text);
      return overwrite(bytes, forms) ? bytes.toString() : text;
    },
    bytes: (bytes, isCut) => {
      overwrite(bytes, forms);
      if (isCut) bytes.fill(asterisk, bytes.length - beginningLength(bytes, byFirst, longest));
      return bytes;
    },
    stream: () => {
      let held: Buffer = Buffer.alloc(0);
      return new Transform({
        transform(chunk: Buffer, _encoding, done) {
          // A copy: what is overwritten may be shared with whoever sent it.
          const joined = Buffer.concat([held, chunk]);
          overwrite(joined, forms);
          // Held back is what may be the beginning of a value, and no more: a waiting reader gets all the rest.
          const kept = beginningLength(joined, byFirst, longest);
          held = joined.subarray(joined.length - kept);
          done(null, joined.subarray(0, joined.length - kept));
        },
        flush(done) {
          done(null, held);
        },
      });
    },
  };
}

function overwrite(bytes: Buffer, forms: readonly Buffer[]): boolean {
  let isFound = false;
  for (const form of forms) {
    for (let at = bytes.indexOf(form); at !== -1; at = bytes.indexOf(form, at + 1)) {
      bytes.fill(asterisk, at, at + form.length);
      isFound = true;
    }
  }
  return isFound;
}

/** Length of the longest end of `bytes` that is the beginning of a form. */
function beginningLength(bytes: Buffer, byFirst: ReadonlyMap<number, readonly Buffer[]>, longest: number): number {
  for (let length = Math.min(longest - 1, bytes.length); length > 0; length--) {
    const at = bytes.length - length;
    const forms = byFirst.get(bytes[at] ?? -1);
    if (forms?.some((form) => form.length > length && bytes.compare(form, 0, length, at) === 0) === true) return length;
  }
  return 0;
}

function formsOf(value: string): Buffer[] {
  const bytes = Buffer.from(value);
  const hex = bytes.toString('hex');
  const percent = encodeURIComponent(value);
  const lowerPercent = percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  const json = JSON.stringify(value).slice(1, -1);
  const html = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const texts = [
    value,
    hex,
    hex.toUpperCase(),
    percent,
    lowerPercent,
    percent.replaceAll('%20', '+'),
    json,
    json.replaceAll('/', '\\/'),
    html,
    html.replaceAll('"', '&quot;').replaceAll("'", '&#39;'),
    ...base64Forms(bytes),
  ];
  return [
    ...texts.map((text) => Buffer.from(text)),
    Buffer.from(value, 'utf16le'),
    Buffer.from(value, 'utf16le').swap16(),
  ];
}

/** The characters of base64 that are the value's alone, wherever in a longer text it stands. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor((padded.length * 8) / 6);
    const plain = padded.toString('base64').slice(from, to);
    return [plain, plain.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

function distinct(forms: readonly Buffer[]): Buffer[] {
  const byText = new Map(forms.filter((form) => form.length > 0).map((form) => [form.toString('latin1'), form]));
  // Longest first: overwriting a part of a longer form would leave the rest of it.
  return [...byText.values()].sort((a, b) => b.length - a.length);
}
