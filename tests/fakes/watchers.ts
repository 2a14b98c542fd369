/** Those who wait for something to become true at a fake platform; they look again whenever something happens there. */
export class Watchers {
  readonly #watchers = new Set<() => void>();

  /** Something happened: everyone who waits looks again. */
  notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Resolves with the first truthy value of `probe`.
   * @throws after `timeoutMs`, with what `describe` says of the last happenings.
   */
  async waitFor<T>(
    probe: () => T | undefined | false,
    { timeoutMs, describe }: { readonly timeoutMs: number; readonly describe: () => string },
  ): Promise<T> {
    const first = probe();
    if (first !== undefined && first !== false) return first;
    return new Promise((resolve, reject) => {
      const watcher = (): void => {
        const value = probe();
        if (value === undefined || value === false) return;
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        resolve(value);
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(watcher);
        reject(new Error(describe()));
      }, timeoutMs);
      this.#watchers.add(watcher);
    });
  }
}
