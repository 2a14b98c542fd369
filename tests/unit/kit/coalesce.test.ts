import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { coalesce } from '#core/kit/coalesce.ts';

describe('coalesce', () => {
  it('sends calls of one tick together and answers each with its own result', async () => {
    const batches: number[][] = [];
    const double = coalesce<number, number>(
      async (items) => {
        batches.push([...items]);
        return items.map((item) => item * 2);
      },
      { batchMax: 10 },
    );
    expect(await Promise.all([double(1), double(2), double(3)])).toEqual([2, 4, 6]);
    expect(batches).toEqual([[1, 2, 3]]);
  });

  it('lets calls wait for the batch in flight and cuts batches at their maximum', async () => {
    const batches: number[][] = [];
    const release = Promise.withResolvers<void>();
    const call = coalesce<number, number>(
      async (items) => {
        batches.push([...items]);
        if (batches.length === 1) await release.promise;
        return items;
      },
      { batchMax: 2 },
    );
    const first = call(1);
    await delay(0);
    const rest = [call(2), call(3), call(4)];
    await delay(0);
    expect(batches).toEqual([[1]]);
    release.resolve();
    expect(await Promise.all([first, ...rest])).toEqual([1, 2, 3, 4]);
    expect(batches).toEqual([[1], [2, 3], [4]]);
  });

  it('fails one bad item alone', async () => {
    const call = coalesce<number, number>(
      async (items) => {
        if (items.includes(13)) throw new Error('unlucky');
        return items;
      },
      { batchMax: 10 },
    );
    const results = await Promise.allSettled([call(1), call(13), call(2)]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('never runs two items of one key at the same time', async () => {
    const running = new Set<string>();
    let overlaps = 0;
    const call = coalesce<string, string>(
      async (items) => {
        for (const item of items) {
          if (running.has(item)) overlaps += 1;
          running.add(item);
        }
        await delay(1);
        for (const item of items) running.delete(item);
        return items;
      },
      { batchMax: 3, concurrency: 4, key: (item) => item },
    );
    const items = Array.from({ length: 60 }, (_, index) => `k${index % 5}`);
    expect(await Promise.all(items.map(call))).toEqual(items);
    expect(overlaps).toBe(0);
  });
});
