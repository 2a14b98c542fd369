import { pino } from 'pino';
import { expect, test } from 'vitest';
import { environmentOfNext } from '#app/config.ts';
import { memoryLimitOf, openSampler, ProcessWatch, type ProcessWatchOptions } from '#app/process-watch.ts';

const mebibyte = 1 << 20;
const minuteMs = 60_000;

/** A watch of a process whose memory and time are the test's, and what it said. */
function openWatch(options: Partial<ProcessWatchOptions> = {}) {
  const said: { readonly level: number; readonly msg: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line) => said.push(JSON.parse(line) as (typeof said)[number]) });
  let nowMs = Date.parse('2026-01-01T00:00:00Z');
  const use = { memoryMb: 100, loopDelayMs: 0 };
  const clock = { now: () => new Date(nowMs), sleep: async () => undefined };
  const watch = new ProcessWatch(
    { log, clock, sample: () => ({ memoryBytes: use.memoryMb * mebibyte, loopDelayMs: use.loopDelayMs }) },
    { memoryLimitMb: 1_000, overMs: 30_000, restartsMax: 5, restartedAt: [], ...options },
  );
  return {
    watch,
    said,
    now: () => new Date(nowMs),
    /** Looks after so long, with so much memory. */
    look: (afterMs: number, memoryMb = use.memoryMb, loopDelayMs = 0) => {
      nowMs += afterMs;
      Object.assign(use, { memoryMb, loopDelayMs });
      return watch.look();
    },
  };
}

test('memory near the limit is told once, and again only after it was well below', () => {
  const { look, watch, said } = openWatch();
  look(0, 790);
  expect(said).toEqual([]);
  for (const memoryMb of [800, 850, 790, 760, 810]) expect(look(5_000, memoryMb)).toBeUndefined();
  expect(said.map(({ level }) => level)).toEqual([40]);
  expect(watch.reading).toMatchObject({ state: 'high', memoryMb: 810, memoryLimitMb: 1_000 });
  look(5_000, 700);
  expect(watch.reading.state).toBe('ok');
  look(5_000, 900);
  expect(said.map(({ msg }) => msg)).toEqual([
    'memory of this process is near its limit',
    'memory of this process is well below its limit again',
    'memory of this process is near its limit',
  ]);
});

test('a process starts again only when its memory stays above the limit for the whole time', () => {
  const { look } = openWatch();
  expect(look(0, 1_200)).toBeUndefined();
  expect(look(29_000, 1_200)).toBeUndefined();
  // A short breath, and the time begins anew.
  expect(look(500, 990)).toBeUndefined();
  expect(look(500, 1_200)).toBeUndefined();
  expect(look(29_999)).toBeUndefined();
  expect(look(1)).toBe('restart');
});

test('each further start within an hour waits twice as long as the one before, and after the last it is only told', () => {
  const waits: number[] = [];
  const starts: Date[] = [];
  let at = openWatch().now();
  for (let start = 0; start < 5; start++) {
    const stage = openWatch({ restartedAt: [...starts], overMs: 1_000 });
    stage.look(at.getTime() - stage.now().getTime(), 2_000);
    const from = stage.now().getTime();
    while (stage.look(1_000) === undefined) expect(stage.now().getTime() - from).toBeLessThan(30 * minuteMs);
    at = stage.now();
    starts.push(at);
    waits.push(Math.round((at.getTime() - from) / minuteMs));
  }
  expect(waits).toEqual([0, 1, 2, 4, 8]);
  const stage = openWatch({ restartedAt: starts, overMs: 1_000 });
  stage.look(at.getTime() - stage.now().getTime(), 2_000);
  for (let minute = 0; minute < 40; minute++) expect(stage.look(minuteMs)).toBeUndefined();
  expect(stage.said.filter(({ level }) => level === 50).length).toBeGreaterThan(0);
  expect(stage.said.filter(({ level }) => level === 50).length).toBeLessThan(9);
  // The hour of the first is over.
  expect(stage.look(20 * minuteMs)).toBe('restart');
});

test('without a limit, and with no starts allowed, nothing starts again', () => {
  const free = openWatch({ memoryLimitMb: 0 });
  for (let look = 0; look < 10; look++) expect(free.look(minuteMs, 50_000)).toBeUndefined();
  expect(free.watch.reading).toMatchObject({ state: 'ok', memoryMb: 50_000 });
  const bound = openWatch({ restartsMax: 0 });
  for (let look = 0; look < 10; look++) expect(bound.look(minuteMs, 2_000)).toBeUndefined();
  expect(bound.watch.reading.state).toBe('over');
});

test('late timers are told, not more than once in five minutes, and never start a process again', () => {
  const { look, said, watch } = openWatch();
  for (let second = 0; second < 240; second += 5) expect(look(5_000, 100, 900)).toBeUndefined();
  expect(said.map(({ msg }) => msg)).toEqual(['this process is slow to react: its timers come late']);
  expect(watch.reading.loopDelayMs).toBe(900);
  look(minuteMs * 5, 100, 900);
  expect(said).toHaveLength(2);
});

test('the start is asked for once, and the watch ends with its signal', async () => {
  const { watch, look } = openWatch({ overMs: 1 });
  look(0, 2_000);
  look(10);
  const stop = new AbortController();
  let asked = 0;
  const over = watch.run(stop.signal, () => {
    asked++;
    stop.abort();
  });
  await over;
  expect(asked).toBe(1);
});

test('the limit leaves room within the memory of a container', () => {
  expect(memoryLimitOf(1_024, 512 * mebibyte)).toBe(460);
  expect(memoryLimitOf(1_024, 2 ** 63)).toBe(1_024);
  expect(memoryLimitOf(1_024, 0)).toBe(1_024);
  expect(memoryLimitOf(0, 512 * mebibyte)).toBe(0);
});

test('this process can be measured', () => {
  using sampler = openSampler();
  const { memoryBytes, loopDelayMs } = sampler.sample();
  expect(memoryBytes).toBeGreaterThan(20 * mebibyte);
  expect(loopDelayMs).toBeGreaterThanOrEqual(0);
});

test('a process that takes the place of another knows of the starts before it', () => {
  const restartedAt = [new Date(1_000_000)];
  const next = environmentOfNext({ restartedAt }, new Date(2_000_000), { HOME: '/root', GONE: undefined });
  expect(next).toEqual({ HOME: '/root', SWITCHYARD_RESTARTED_AT: '1000,2000' });
});
