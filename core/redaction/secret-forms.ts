/** Shorter texts are ordinary words too often: taking them out would mangle everything that is said. */
export const secretCharsMin = 8;

/** A line of a value with several lines is a secret of its own when it is as long as those of key files. */
const lineCharsMin = 24;

/**
 * Every way a secret may be written: as it is, escaped in JSON and HTML, in a URL, in hex, and inside of base64 wherever
 * it may begin there. Forms that are too short to be told from ordinary text are left out.
 */
export function formsOf(value: string): readonly string[] {
  const bytes = Buffer.from(value, 'utf8');
  const json = JSON.stringify(value).slice(1, -1);
  const forms = new Set([value, json, json.replaceAll('/', '\\/'), ...htmlForms(value), ...urlForms(value)]);
  const hex = bytes.toString('hex');
  forms.add(hex).add(hex.toUpperCase());
  for (const offset of [0, 1, 2]) {
    const text = base64At(bytes, offset);
    forms.add(text).add(text.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return [...forms].filter((form) => form.length >= secretCharsMin);
}

/**
 * Parts of a value that are as secret as the whole: the password of `user:password`, the lines of a key file. Those of
 * its marks (`-----BEGIN`) are not.
 */
export function partsOf(value: string): readonly string[] {
  const [, password] = /^[^\s:]{1,64}:(\S+)$/.exec(value) ?? [];
  const lines = value.includes('\n') ? value.split(/\r?\n/).map((line) => line.trim()) : [];
  return [
    ...(password === undefined ? [] : [password]),
    ...lines.filter((line) => line.length >= lineCharsMin && /^[^\s-][^\s]*$/.test(line)),
  ];
}

function htmlForms(value: string): string[] {
  const text = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return [text, text.replaceAll('"', '&quot;').replaceAll("'", '&#39;')];
}

function urlForms(value: string): string[] {
  if (!value.isWellFormed()) return [];
  const percent = encodeURIComponent(value);
  const lower = percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  return [percent, lower, percent.replaceAll('%20', '+')];
}

/**
 * The characters that stand for these bytes alone, when `offset` other bytes (of a whole group) stand before them: the
 * first and the last character may hold bits of the neighbours.
 */
function base64At(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes])
    .toString('base64')
    .replace(/=+$/, '');
  const from = [0, 2, 3][offset] ?? 0;
  const isOpen = (offset + bytes.length) % 3 !== 0;
  return text.slice(from, isOpen ? -1 : undefined);
}
