/** What a probe looks at may also change elsewhere: in a database, a file, another fake. */
const lookMs = 50;

/**
 * Those who wait for something to become true; they look again whenever something happens at the fake platform, and
 * every 50 ms.
 */
export class Watchers {
  readonly #watchers = new Set<() => void>();

  /** Something happened: everyone who waits looks again. */
  notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Resolves with the first truthy value of `probe`.
   * @throws after `timeoutMs`, with what `describe` says of the last happenings; what `probe` throws, at once.
   */
  async waitFor<T>(
    probe: () => T | undefined | false,
    { timeoutMs, describe }: { readonly timeoutMs: number; readonly describe: () => string },
  ): Promise<T> {
    const first = probe();
    if (first !== undefined && first !== false) return first;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        clearInterval(clock);
        this.#watchers.delete(watcher);
      };
      const watcher = (): void => {
        try {
          const value = probe();
          if (value === undefined || value === false) return;
          end();
          resolve(value);
        } catch (err) {
          end();
          reject(err instanceof Error ? err : new Error(String(err)));
        }
      };
      const clock = setInterval(watcher, lookMs);
      const timer = setTimeout(() => {
        end();
        reject(new Error(describe()));
      }, timeoutMs);
      this.#watchers.add(watcher);
    });
  }
}
