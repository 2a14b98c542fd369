import { vi } from 'vitest';

/** As for `expect.poll`: a wait ends as soon as it holds, so its limit is for what never will. */
const limitMs = 30_000;

/**
 * Waits until `claim` does not throw any more and gives back what it returned. Looks every `interval` ms
 * (50 when not told), for 30 s when not told; throws what `claim` threw last.
 */
export async function eventually<T>(
  claim: () => T | Promise<T>,
  options: { readonly timeout?: number; readonly interval?: number } = {},
): Promise<T> {
  return await vi.waitFor(claim, { timeout: limitMs, ...options });
}
