import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { PlatformFailure, ScriptedPlatform } from '#tests/support/scripted-platform.ts';
import { OutboxStage } from './outbox-stage.ts';

let stage: OutboxStage;
beforeEach(async () => {
  stage = await OutboxStage.open();
});
afterEach(async () => {
  await stage[Symbol.asyncDispose]();
});

const gaps = (calls: readonly { readonly at: number }[]) =>
  calls.slice(1).map((call, index) => call.at - (calls[index]?.at ?? 0));
const markdown = (text: string) => ({ parts: [{ type: 'markdown' as const, markdown: text }] });

test('the topics of a room share its interval, also between two workers, and another room does not wait', async () => {
  // Longer than a busy machine stands still between the lease of a message and its call.
  const platform = new ScriptedPlatform({ sendIntervalMs: 2_000 });
  for (const thread of ['1', '2', '3']) await stage.says('a', `topic ${thread}`, { thread });
  await stage.says('b', 'elsewhere');
  await stage.run(platform);
  await stage.run(platform);
  await stage.settled();
  const inA = platform.calls.filter((call) => call.room === 'a');
  expect(inA).toHaveLength(3);
  expect(Math.min(...gaps(inA))).toBeGreaterThanOrEqual(1_990);
  const elsewhere = platform.calls.find((call) => call.room === 'b');
  expect(elsewhere?.at).toBeLessThan(inA[1]?.at ?? 0);
});

test('where the platform counts threads apart, so do we', async () => {
  const platform = new ScriptedPlatform({ sendIntervalMs: 60_000, pacedPer: 'thread' });
  for (const thread of ['1', '2', '3']) await stage.says('a', `topic ${thread}`, { thread });
  await stage.run(platform);
  await stage.settled();
  expect(platform.calls).toHaveLength(3);
});

test('a room that is asked to wait holds up nobody else, and its final words land once the wait is over', async () => {
  const platform = new ScriptedPlatform();
  let refusals = 1;
  platform.script = ({ room }) => {
    if (room !== 'slow' || refusals === 0) return;
    refusals -= 1;
    throw new PlatformFailure({ kind: 'throttled', afterMs: 600_000 });
  };
  await stage.says('slow', 'patient');
  await stage.run(platform);
  await eventually(async () => {
    const [pace] = await stage.database.query('select 1 from delivery_pace where paused_until is not null');
    expect(pace).toBeDefined();
  });
  await stage.says('slow', 'behind it');
  for (let index = 0; index < 5; index += 1) await stage.says('quick', `message ${index}`);
  await eventually(() => expect(platform.textsIn('quick')).toHaveLength(5));
  await stage.looked();
  expect(platform.calls.filter((call) => call.room === 'slow')).toHaveLength(1);
  // Ten minutes later, but for a moment.
  const passed = `interval '599 seconds'`;
  await stage.database.query(
    `update delivery_pace set paused_until = paused_until - ${passed}, slowed_at = slowed_at - ${passed}`,
  );
  await eventually(async () => {
    const rows = await stage.database.query(
      `update outbox set not_before = not_before - ${passed} where key = 'slow:patient' and state = 'pending' returning 1`,
    );
    expect(rows).toHaveLength(1);
  });
  await stage.looked();
  await stage.settled();
  expect(platform.textsIn('slow')).toEqual(['patient', 'behind it']);
});

test('a room that is asked to wait is written to again when the wait is over, and not before', async () => {
  const platform = new ScriptedPlatform();
  platform.script = () => {
    if (platform.calls.length === 1) throw new PlatformFailure({ kind: 'throttled', afterMs: 800 });
  };
  await stage.says('slow', 'patient');
  await stage.run(platform);
  await stage.settled();
  expect(platform.calls.map((call) => call.text)).toEqual(['patient', 'patient']);
  expect(Math.min(...gaps(platform.calls))).toBeGreaterThanOrEqual(790);
});

test('after a refusal the interval of the room is doubled for every worker', async () => {
  const platform = new ScriptedPlatform({ sendIntervalMs: 400 });
  let isRefused = false;
  platform.script = () => {
    if (isRefused) return;
    isRefused = true;
    throw new PlatformFailure({ kind: 'throttled', afterMs: 10 });
  };
  for (const text of ['one', 'two']) await stage.says('a', text);
  await stage.run(platform);
  await stage.settled();
  const [, one, two] = platform.calls;
  // Twice the interval, less what wore off meanwhile.
  expect((two?.at ?? 0) - (one?.at ?? 0)).toBeGreaterThanOrEqual(750);
});

test('a refusal that is about the account holds up all of its rooms', async () => {
  const platform = new ScriptedPlatform();
  platform.script = ({ text }) => {
    if (text === 'first' && platform.calls.length === 1) {
      throw new PlatformFailure({ kind: 'throttled', afterMs: 2_000, scope: 'account' });
    }
  };
  await stage.says('a', 'first');
  await stage.run(platform);
  await eventually(async () => {
    const [pace] = await stage.database.query(`select 1 from delivery_pace where paused_until is not null`);
    expect(pace).toBeDefined();
  });
  await stage.says('b', 'second');
  await stage.settled();
  const refused = platform.calls[0]?.at ?? 0;
  for (const call of platform.calls.slice(1)) expect(call.at - refused).toBeGreaterThanOrEqual(1_990);
});

test('of revisions that come faster than the interval only the latest is sent, one at a time, and the final one always', async () => {
  const platform = new ScriptedPlatform({ editIntervalMs: 250 });
  let inFlight = 0;
  platform.script = async () => {
    inFlight += 1;
    expect(inFlight).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    inFlight -= 1;
  };
  const preview = { key: 'answer', importance: 'progress', isFinal: false } as const;
  await stage.run(platform);
  const startedAt = performance.now();
  for (let index = 0; index < 40; index += 1) {
    await stage.says('a', `words ${index}`, preview);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await stage.says('a', 'all the words', { key: 'answer' });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['all the words']);
  const previews = platform.calls.slice(0, -1);
  // The first may go at once, each other one when the interval is over.
  const intervals = ((platform.calls.at(-1)?.at ?? 0) - startedAt) / 250;
  expect(previews.length).toBeLessThanOrEqual(1 + Math.ceil(intervals));
  expect(Math.min(...gaps(previews))).toBeGreaterThanOrEqual(240);
});

test('final words go before previews of the same room, and do not wait for the interval of edits', async () => {
  const platform = new ScriptedPlatform({ editIntervalMs: 600_000, sendIntervalMs: 20 });
  await stage.says('a', 'growing', { key: 'preview', importance: 'progress', isFinal: false, thread: '1' });
  await stage.run(platform);
  await eventually(() => expect(platform.calls).toHaveLength(1));
  await stage.says('a', 'growing more', { key: 'preview', importance: 'progress', isFinal: false, thread: '1' });
  await stage.says('a', 'the result', { thread: '2' });
  await stage.says('a', 'grown', { key: 'preview', thread: '1' });
  await stage.settled();
  expect(platform.textsIn('a').sort()).toEqual(['grown', 'the result']);
});

test('an edit that changes nothing visible is done without a call', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'same', { key: 'm' });
  await stage.run(platform);
  await stage.settled();
  await stage.says('a', 'same', { key: 'm', body: { ...markdown('same'), isSilent: true, draftId: 7 } });
  await stage.settled();
  expect(platform.calls).toHaveLength(1);
  await stage.says('a', 'other', { key: 'm' });
  await stage.settled();
  expect(platform.calls.map((call) => call.op)).toEqual(['send', 'edit']);
});

test('a platform that says an edit changes nothing is believed, and not asked again', async () => {
  const platform = new ScriptedPlatform();
  platform.script = ({ op }) => {
    if (op === 'edit') throw new PlatformFailure({ kind: 'no_op' });
  };
  await stage.says('a', 'one', { key: 'm' });
  await stage.run(platform);
  await stage.settled();
  await stage.says('a', 'two', { key: 'm' });
  await stage.settled();
  expect(platform.callsOf('edit')).toHaveLength(1);
  expect(await stage.states()).toEqual({ m: 'sent' });
});

test('an account keeps to its call budget over all rooms, and final words have the first right to it', async () => {
  const platform = new ScriptedPlatform({ budgets: { any: { count: 5, perMs: 1000 } } });
  for (let index = 0; index < 9; index += 1) {
    await stage.says(`preview ${index}`, 'growing', { importance: 'progress', isFinal: false });
  }
  for (let index = 0; index < 3; index += 1) await stage.says(`result ${index}`, 'done');
  const startedAt = performance.now();
  await stage.run(platform);
  await stage.settled();
  expect(platform.calls).toHaveLength(12);
  // Five at once and then one every 200 ms.
  for (const [index, call] of platform.calls.entries()) {
    expect(index + 1).toBeLessThanOrEqual(5 + (call.at - startedAt) / 200);
  }
  // Of those that go out at once the order says nothing.
  expect(platform.calls.slice(0, 5).filter((call) => call.text === 'done')).toHaveLength(3);
});

test('an account that is switched off says nothing until it is switched on again', async () => {
  const platform = new ScriptedPlatform();
  await stage.database.query(
    `insert into channel_account (channel, account, is_enabled) values ('telegram', '7', false)`,
  );
  await stage.says('a', 'kept');
  const loop = await stage.run(platform);
  loop.nudge();
  await stage.says('b', 'kept too');
  await stage.looked();
  expect(platform.calls).toEqual([]);
  await stage.database.query('update channel_account set is_enabled = true');
  loop.nudge();
  await stage.settled();
  expect(platform.calls).toHaveLength(2);
});
