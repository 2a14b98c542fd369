import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { AppError, toAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { FoundHook, FromThread, ThreadData, ToThread, UserEvent } from './user-hook-wire.ts';

/** What loading the files may take; they may import others. */
const loadMs = 15_000;
/** A thread that does not answer for so long is busy for ever. */
export const pongMs = 1_000;

interface Waiting {
  /** The thread that was asked; it may be gone, and another started, before all who wait for it know. */
  readonly worker: Worker;
  readonly resolve: (value: unknown) => void;
  readonly reject: (err: Error) => void;
}

/** The thread with the files of a project; started anew when it dies or hangs. */
export class HookThread implements AsyncDisposable {
  readonly #log: Log;
  readonly #files: readonly string[];
  readonly #waiting = new Map<number, Waiting>();
  #worker: Promise<{ readonly worker: Worker; readonly hooks: readonly FoundHook[] }> | undefined;
  #current: Worker | undefined;
  /** What was found at the first start: hooks are called by their place in it. */
  #first: string | undefined;
  #lastId = 0;
  #isClosed = false;
  #pongs: (() => void)[] = [];

  constructor(deps: { readonly log: Log }, files: readonly string[]) {
    this.#log = deps.log;
    this.#files = files;
  }

  async start(): Promise<readonly FoundHook[]> {
    const { hooks } = await this.#running();
    return hooks;
  }

  async call(
    hook: number,
    event: UserEvent,
    values: readonly unknown[],
    bounds: { readonly signal: AbortSignal | undefined; readonly timeoutMs: number },
  ): Promise<unknown> {
    const { worker } = await this.#running();
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { worker, ...answer });
    const timer = afterMessages(bounds.timeoutMs, () => {
      answer.reject(new AppError('hook.invalid', `It took longer than ${bounds.timeoutMs / 1000} s.`));
      void this.#revive(worker);
    });
    const stop = (): void => answer.reject(new AppError('turn.cancelled', 'The turn was stopped.'));
    bounds.signal?.addEventListener('abort', stop, { once: true });
    try {
      this.#send(worker, { kind: 'call', id, hook, event, values });
      return await answer.promise;
    } catch (err) {
      this.#send(worker, { kind: 'cut', id });
      throw err;
    } finally {
      timer.cancel();
      bounds.signal?.removeEventListener('abort', stop);
      this.#waiting.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const started = await this.#worker?.catch(() => undefined);
    await started?.worker.terminate();
  }

  #send(worker: Worker, message: ToThread): void {
    worker.postMessage(message);
  }

  /** The thread, started when there is none. */
  async #running(): Promise<{ readonly worker: Worker; readonly hooks: readonly FoundHook[] }> {
    if (this.#isClosed) throw new AppError('hook.invalid', 'The hooks were stopped with the worker.');
    this.#worker ??= this.#open();
    const starting = this.#worker;
    try {
      return await starting;
    } catch (err) {
      if (this.#worker === starting) this.#worker = undefined;
      throw err;
    }
  }

  async #open(): Promise<{ readonly worker: Worker; readonly hooks: readonly FoundHook[] }> {
    const data: ThreadData = {
      files: this.#files,
      helpers: pathToFileURL(path.join(import.meta.dirname, 'define-hooks.ts')).href,
    };
    const worker = new Worker(path.join(import.meta.dirname, 'user-hook-thread.main.ts'), {
      workerData: data,
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: 256 },
    });
    this.#current = worker;
    // What hooks print is told in the log; the worker's own output is read by machines.
    for (const stream of [worker.stdout, worker.stderr]) {
      createInterface({ input: stream }).on('line', (line) =>
        this.#log.info({ line: line.slice(0, 2_000) }, 'hook printed'),
      );
    }
    const ready = Promise.withResolvers<readonly FoundHook[]>();
    const timer = setTimeout(
      () => ready.reject(new AppError('hook.invalid', `The hooks did not load within ${loadMs / 1000} s.`)),
      loadMs,
    );
    worker.on('message', (message: FromThread) => this.#receive(message, ready));
    worker.on('error', (err) => {
      this.#log.error({ err }, 'thread of the hooks failed');
      ready.reject(
        new AppError('hook.invalid', `The hooks cannot be used: ${toAppError(err).message}`, { cause: err }),
      );
    });
    worker.on('exit', () => {
      ready.reject(new AppError('hook.invalid', 'The hooks ended their thread while they were loaded.'));
      this.#lost(worker);
    });
    try {
      const hooks = await ready.promise;
      const found = JSON.stringify(hooks);
      this.#first ??= found;
      if (found !== this.#first) {
        throw new AppError('hook.invalid', 'The hook files were changed while the worker ran.', {
          mend: 'Start the worker anew to use them.',
        });
      }
      return { worker, hooks };
    } catch (err) {
      await worker.terminate();
      throw err;
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(message: FromThread, ready: PromiseWithResolvers<readonly FoundHook[]>): void {
    switch (message.kind) {
      case 'ready':
        ready.resolve(message.hooks);
        return;
      case 'refused':
        ready.reject(
          new AppError('hook.invalid', `The hooks cannot be used:\n${message.problems.join('\n')}`, {
            mend: 'Correct the files, or take them away. See docs/guide/hooks.md.',
          }),
        );
        return;
      case 'answer':
        this.#waiting.get(message.id)?.resolve(message.value);
        return;
      case 'thrown': {
        const err = new Error(message.message);
        err.stack = message.stack;
        this.#waiting.get(message.id)?.reject(err);
        return;
      }
      case 'pong':
        for (const heard of this.#pongs.splice(0)) heard();
    }
  }

  /** Ends a thread that does not even answer a ping: a loop without end lets nothing else in. */
  async #revive(worker: Worker): Promise<void> {
    const pong = new Promise<boolean>((resolve) => {
      const timer = afterMessages(pongMs, () => resolve(false));
      this.#pongs.push(() => {
        timer.cancel();
        resolve(true);
      });
    });
    this.#send(worker, { kind: 'ping' });
    if ((await pong) || this.#current !== worker || this.#worker === undefined) return;
    this.#log.error({ files: this.#files }, 'thread of the hooks hangs and is started anew');
    await worker.terminate();
  }

  /** What waited for a thread that is gone is told so; the next call starts another. */
  #lost(worker: Worker): void {
    if (this.#current === worker) this.#worker = undefined;
    for (const waiting of this.#waiting.values()) {
      if (waiting.worker === worker) waiting.reject(new AppError('hook.invalid', 'The hooks ended their thread.'));
    }
  }
}

/**
 * Runs something after a time, behind the messages that have arrived by then: where this thread itself was busy, an answer
 * that came in time would otherwise count as late.
 */
function afterMessages(ms: number, run: () => void): { cancel(): void } {
  let isCancelled = false;
  const timer = setTimeout(() => {
    setImmediate(() => {
      if (!isCancelled) run();
    });
  }, ms);
  return {
    cancel: () => {
      isCancelled = true;
      clearTimeout(timer);
    },
  };
}
