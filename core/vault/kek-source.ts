/**
 * The key that wraps the keys of secrets. It never leaves its source as far as the rest of the product is concerned.
 * Every method throws AppError `vault.unavailable` when the key cannot be had.
 */
export interface KekSource {
  /** Which key wraps from now on. */
  id(): Promise<string>;
  /** @param context bound to the result: unwrapping needs the same. */
  wrap(id: string, key: Buffer, context: Buffer): Promise<Buffer>;
  /** @throws AppError `vault.tampered` when it was not wrapped by this key for this context. */
  unwrap(id: string, wrapped: Buffer, context: Buffer): Promise<Buffer>;
  /**
   * Makes a new key the one that wraps; the old ones still unwrap until `forgetOlder`.
   * @returns its id. A source that changes its keys by itself returns the id it has.
   */
  renew(): Promise<string>;
  /** Forgets every key that is older than this one. */
  forgetOlder(id: string): Promise<void>;
}
