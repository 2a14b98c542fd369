import { pino } from 'pino';
import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import type { DiskRoom } from '#workers/sandbox/read-use.ts';
import { UseWatch } from '#workers/sandbox/use-watch.ts';

function openWatch(options: { readonly isWalled?: boolean; readonly fails?: boolean } = {}) {
  const room: { -readonly [Key in keyof DiskRoom]: DiskRoom[Key] } = { freeMb: 30, freeFiles: 1000 };
  const told: string[] = [];
  let looks = 0;
  const watch = new UseWatch({
    log: pino({ level: 'silent' }),
    limits: { memoryMb: 512, processes: 64, diskMb: 64 },
    open: async () => ({
      everyMs: 1_000,
      isCheap: true,
      read: () => ({ memoryMb: 1, processes: 1 }),
      workspaceRoom: async () => {
        looks++;
        if (options.fails === true) throw new Error('the container is gone');
        return { ...room };
      },
    }),
    diskUsedMb: async () => undefined,
    onDiskFull: options.isWalled === false ? undefined : (detail) => told.push(detail),
  });
  const call = async (): Promise<void> => {
    const before = looks;
    watch.begin();
    watch.end();
    if (options.isWalled !== false) await eventually(() => expect(looks).toBeGreaterThan(before));
  };
  return { room, told, call, looks: () => looks };
}

test('a workspace that is full behind a call is told once, and again when it had room in between', async () => {
  const { room, told, call } = openWatch();
  await call();
  expect(told).toEqual([]);
  room.freeMb = 0.25;
  await call();
  await call();
  await eventually(() => expect(told).toEqual(['The workspace is full: 256 KiB of 64 MiB are left.']));
  // A little more is not yet room.
  room.freeMb = 2;
  await call();
  room.freeMb = 0;
  await call();
  expect(told).toHaveLength(1);
  room.freeMb = 20;
  await call();
  Object.assign(room, { freeFiles: 0 });
  await call();
  await eventually(() => expect(told[1]).toBe('The workspace is full: it can hold 0 more files.'));
});

test('where the size is no wall nobody looks, and a look that fails says nothing', async () => {
  const watched = openWatch({ isWalled: false });
  watched.room.freeMb = 0;
  await watched.call();
  expect(watched.looks()).toBe(0);
  const failing = openWatch({ fails: true });
  await failing.call();
  expect(failing.told).toEqual([]);
});
