export interface CoalesceOptions<Item> {
  /** Most items of one batch. */
  readonly batchMax: number;
  /** Batches in flight at the same time; 1 unless told. */
  readonly concurrency?: number;
  /** Items with the same key go one after another: never in one batch, never in two batches at once. */
  readonly key?: (item: Item) => string;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (err: unknown) => void;
}

/**
 * Natural batching: a call that arrives while nothing is in flight starts at once together with the others of the same
 * tick; calls that arrive meanwhile wait and go together as the next batch. Latency under no load is that of one call.
 *
 * `run` answers in the order of its items. When a batch of several fails, its items are tried again one at a time, so
 * that one bad item fails alone; `run` must therefore be all or nothing and safe to repeat.
 */
export function coalesce<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  options: CoalesceOptions<Item>,
): (item: Item) => Promise<Result> {
  const { batchMax, concurrency = 1, key } = options;
  let queue: Waiting<Item, Result>[] = [];
  const busyKeys = new Set<string>();
  let inFlight = 0;
  let isScheduled = false;

  const schedule = (): void => {
    if (isScheduled || inFlight >= concurrency || queue.length === 0) return;
    isScheduled = true;
    queueMicrotask(() => {
      isScheduled = false;
      start();
    });
  };

  const start = (): void => {
    while (inFlight < concurrency && queue.length > 0) {
      const batch = take();
      if (batch.length === 0) return;
      inFlight += 1;
      void runBatch(run, batch).finally(() => {
        inFlight -= 1;
        if (key !== undefined) for (const entry of batch) busyKeys.delete(key(entry.item));
        start();
      });
    }
  };

  const take = (): Waiting<Item, Result>[] => {
    if (key === undefined) return queue.splice(0, batchMax);
    const batch: Waiting<Item, Result>[] = [];
    const rest: Waiting<Item, Result>[] = [];
    for (const entry of queue) {
      const itemKey = key(entry.item);
      if (batch.length < batchMax && !busyKeys.has(itemKey)) {
        busyKeys.add(itemKey);
        batch.push(entry);
      } else rest.push(entry);
    }
    queue = rest;
    return batch;
  };

  return (item) =>
    new Promise<Result>((resolve, reject) => {
      queue.push({ item, resolve, reject });
      schedule();
    });
}

/** Never rejects: every item of the batch is settled on its own. */
async function runBatch<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  batch: readonly Waiting<Item, Result>[],
): Promise<void> {
  try {
    const results = await run(batch.map((entry) => entry.item));
    if (results.length !== batch.length) throw new Error(`a batch of ${batch.length} got ${results.length} results`);
    results.forEach((result, index) => {
      batch[index]?.resolve(result);
    });
  } catch (err) {
    if (batch.length === 1) {
      batch[0]?.reject(err);
      return;
    }
    for (const entry of batch) await runBatch(run, [entry]);
  }
}
