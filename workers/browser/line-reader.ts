const newline = 0x0a;

/** Cuts bytes into lines, none longer than a bound. */
export class LineReader {
  readonly #bytesMax: number;
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #length = 0;
  #isBroken = false;

  constructor(bytesMax: number, onLine: (line: string) => void) {
    this.#bytesMax = bytesMax;
    this.#onLine = onLine;
  }

  /** @returns false when a line is longer than the bound; nothing is read after that. */
  push(chunk: Buffer): boolean {
    let rest = chunk;
    while (!this.#isBroken) {
      const end = rest.indexOf(newline);
      const part = end === -1 ? rest : rest.subarray(0, end);
      this.#length += part.length;
      if (this.#length > this.#bytesMax) {
        this.#isBroken = true;
        this.#parts = [];
        return false;
      }
      this.#parts.push(part);
      if (end === -1) return true;
      const line = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.#length = 0;
      if (line !== '') this.#onLine(line);
      rest = rest.subarray(end + 1);
    }
    return false;
  }
}
