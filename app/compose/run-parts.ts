import { aborted } from '#core/kit/aborted.ts';
import type { Log } from '#core/kit/log.ts';

/** A long-running piece of a process: resolves when its signal has aborted and it has stopped. */
export interface Part {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Runs parts until the signal aborts, then stops them one by one in reverse order of start. A part that ends by itself
 * is a defect that must not go unseen: it stops all the others.
 * @throws what the first part that failed threw.
 */
export async function runParts(parts: readonly Part[], log: Log, signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const over = AbortSignal.any([signal, failed.signal]);
  let cause: unknown;
  const running = parts.map((part) => {
    const stop = new AbortController();
    const done = part.run(stop.signal).then(
      () => {
        if (over.aborted) return;
        cause ??= new Error(`${part.name} stopped by itself`);
        failed.abort();
      },
      (err: unknown) => {
        log.error({ err, part: part.name }, 'part failed');
        cause ??= err;
        failed.abort();
      },
    );
    return { part, stop, done };
  });
  await aborted(over);
  for (const { stop, done } of running.reverse()) {
    stop.abort();
    await done;
  }
  if (cause !== undefined) throw cause;
}
