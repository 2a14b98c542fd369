import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { AppError } from '#core/kit/errors.ts';
import { eventually } from '#tests/support/eventually.ts';
import { DiskWatch } from '#workers/sandbox/disk-watch.ts';

function openWatch(use: { usedMb: number; files: number }, everyMs = 10) {
  const ended: AppError[] = [];
  let measured = 0;
  const watch = new DiskWatch({
    log: pino({ level: 'silent' }),
    limitMb: 100,
    everyMs,
    measure: async () => {
      measured++;
      return { ...use };
    },
    onFull: (err) => ended.push(err),
    onMeasured: () => undefined,
  });
  return { watch, ended, looks: () => measured };
}

test('work that grows the workspace beyond its limit is ended, and the message has the numbers', async () => {
  const use = { usedMb: 10, files: 5 };
  const { watch, ended } = openWatch(use);
  watch.begin();
  use.usedMb = 120;
  await eventually(() => expect(ended.length).toBeGreaterThan(0));
  expect(ended[0]).toMatchObject({
    code: 'sandbox.disk_full',
    message: expect.stringContaining('120 MiB and may hold 100'),
  });
  watch.stop();
});

test('what is found after the work refuses the next call once, and lets those after it clean up', async () => {
  const use = { usedMb: 120, files: 5 };
  const { watch, ended, looks } = openWatch(use);
  watch.begin();
  watch.end();
  await eventually(() => expect(looks()).toBeGreaterThan(0));
  await eventually(() => expect(() => watch.begin()).toThrow(/not run/));
  watch.begin();
  const before = looks();
  await eventually(() => expect(looks()).toBeGreaterThan(before + 1));
  expect(ended).toEqual([]);
  use.usedMb = 125;
  await eventually(() => expect(ended.length).toBeGreaterThan(0));
  watch.stop();
});

test('a great many small files count as well', async () => {
  const use = { usedMb: 20, files: 1_000_000 };
  const { watch, ended } = openWatch(use);
  watch.begin();
  await eventually(() => expect(ended.length).toBeGreaterThan(0));
  expect(ended[0]?.message).toContain('1000000 files and may hold 12800');
  watch.stop();
});

test('nothing is measured while nothing is done', async () => {
  const { watch, looks } = openWatch({ usedMb: 1, files: 1 }, 5);
  watch.begin();
  watch.end();
  await eventually(() => expect(looks()).toBe(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(looks()).toBe(1);
});
