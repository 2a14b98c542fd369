/** A path as servers may read it. */
export type PathReadings =
  | {
      readonly ok: true;
      /** Every reading, the one closest to how it was written first. A rule that opens must cover all of them. */
      readonly readings: readonly string[];
      /** The plainest reading: decoded, without doubled slashes and path parameters. */
      readonly plain: string;
    }
  | { readonly ok: false; readonly reason: string };

/** What moves cursors, breaks lines or turns text around: no server needs it, and people would be shown something else. */
const unreadable = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;
/** Deeper encodings have no use but to hide something. */
const decodesMax = 3;

/**
 * All the ways in which a server may understand the path of a URL: decoded or not, `\` as `/`, doubled slashes as one,
 * without `;parameters`. Dot segments are worked out by whoever parses the URL; those that only show after decoding, and
 * control characters, are refused, because there is no reading of them that both sides are sure to share.
 * @param pathname as `URL` gives it.
 */
export function readPath(pathname: string): PathReadings {
  const readings = new Set<string>();
  let text = pathname;
  for (let level = 0; ; level++) {
    if (unreadable.test(text)) {
      return { ok: false, reason: 'the path has control characters' };
    }
    const slashed = text.replaceAll('\\', '/');
    const bare = slashed.replaceAll(/;[^/]*/g, '');
    if (hasDots(slashed) || hasDots(bare)) return { ok: false, reason: 'the path hides "." or ".." segments' };
    // What is decoded once here is a reading of its own; the path as it was written is read with plain letters.
    for (const reading of [level === 0 ? decodeUnreserved(text) : text, slashed, bare, collapse(bare)]) {
      readings.add(level === 0 ? decodeUnreserved(reading) : reading);
    }
    const decoded = decodeOnce(text);
    if (decoded === text) return { ok: true, readings: [...readings], plain: collapse(bare) };
    if (level === decodesMax) return { ok: false, reason: 'the path is encoded several times over' };
    text = decoded;
  }
}

function hasDots(path: string): boolean {
  return path.split('/').some((segment) => /^\.{1,2}$/.test(segment.trim()));
}

function collapse(path: string): string {
  return path.replaceAll(/\/{2,}/g, '/');
}

/** Letters, digits and `-._~` stand for themselves whether encoded or not (RFC 3986, 6.2.2.2). */
function decodeUnreserved(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (whole, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    return /[\w.~-]/.test(char) ? char : whole.toUpperCase();
  });
}

/** A `%` that begins no encoding stands for itself; bytes that are no UTF-8 are taken for Latin-1, as old servers do. */
function decodeOnce(path: string): string {
  return path.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Buffer.from(run.replaceAll('%', ''), 'hex');
    const text = bytes.toString('utf8');
    return text.includes('\uFFFD') ? bytes.toString('latin1') : text;
  });
}
