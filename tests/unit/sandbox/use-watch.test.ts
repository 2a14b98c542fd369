import { pino } from 'pino';
import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import type { UseReader } from '#workers/sandbox/read-use.ts';
import { UseWatch } from '#workers/sandbox/use-watch.ts';

function openWatch(options: { readonly isCheap?: boolean; readonly open?: () => Promise<UseReader> } = {}) {
  const use = { memoryMb: 10, processes: 3, diskMb: 5 as number | undefined };
  let looks = 0;
  const watch = new UseWatch({
    log: pino({ level: 'silent' }),
    limits: { memoryMb: 512, processes: 64, diskMb: 1_024 },
    open:
      options.open ??
      (async () => ({
        everyMs: 5,
        isCheap: options.isCheap ?? true,
        read: () => {
          looks++;
          return { memoryMb: use.memoryMb, processes: use.processes };
        },
      })),
    diskUsedMb: async () => use.diskMb,
  });
  return { watch, use, looks: () => looks };
}

test('with room everywhere there is nothing to tell', async () => {
  const { watch, looks } = openWatch();
  watch.begin();
  await eventually(() => expect(looks()).toBeGreaterThan(1));
  expect(await watch.nearLimits()).toBeUndefined();
  watch.end();
});

test('what came near to a limit while work went on is told, also when it is over', async () => {
  const { watch, use, looks } = openWatch();
  use.memoryMb = 480.4;
  watch.begin();
  await eventually(() => expect(looks()).toBeGreaterThan(0));
  Object.assign(use, { memoryMb: 20, processes: 58, diskMb: 1_000 });
  expect(await watch.nearLimits()).toBe('memory 480 of 512 MB, processes 58 of 64, disk 1000 of 1024 MB');
  watch.end();
  // The next work begins with nothing said of it.
  Object.assign(use, { processes: 2, diskMb: undefined });
  watch.begin();
  expect(await watch.nearLimits()).toBeUndefined();
  watch.end();
});

test('an idle container is not looked at', async () => {
  const { watch, looks } = openWatch();
  watch.begin();
  await eventually(() => expect(looks()).toBeGreaterThan(0));
  watch.end();
  const before = looks();
  const busy = openWatch();
  busy.watch.begin();
  await eventually(() => expect(busy.looks()).toBeGreaterThan(10));
  busy.watch.end();
  expect(looks()).toBe(before);
});

test('a reader that costs something is not asked at the end of a call', async () => {
  const { watch, looks } = openWatch({ isCheap: false });
  watch.begin();
  await eventually(() => expect(looks()).toBeGreaterThan(0));
  watch.end();
  const before = looks();
  await watch.nearLimits();
  expect(looks()).toBe(before);
});

test('where use cannot be read the disk is still told', async () => {
  const { watch, use } = openWatch({
    open: async () => {
      throw new Error('forbidden by the proxy');
    },
  });
  use.diskMb = 1_020;
  watch.begin();
  expect(await watch.nearLimits()).toBe('disk 1020 of 1024 MB');
  watch.end();
});
