/** Takes known secrets and secret-shaped strings out of what leaves a zone. */
export interface Redactor {
  /** The text with each secret replaced by `[redacted: what it is]`; the same object when there is none. */
  text(text: string): string;
  /** Every string of a JSON value, keys included. */
  json<T>(value: T): T;
  /** For output that comes in pieces: holds back as much as a secret's beginning could be. */
  stream(): { push(chunk: string): string; end(): string };
}
