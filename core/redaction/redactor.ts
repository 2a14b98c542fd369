/** Takes known secrets and secret-shaped strings out of what leaves a zone. */
export interface Redactor {
  /** The text with each secret replaced by `[redacted: what it is]`; the same object when there is none. */
  text(text: string): string;
  /** Every string of a JSON value, keys included; the same object when there is none. */
  json<T>(value: T): T;
  /** The same for a value that is written as JSON text already; the same text when there is none. */
  jsonText(text: string): string;
  /** For output that comes in pieces: holds back as much as a secret's beginning could be. */
  stream(): RedactorStream;
}

/** One output on its way; what `push` does not give out comes with a later piece or with `end`. */
export interface RedactorStream {
  push(chunk: string): string;
  end(): string;
}
