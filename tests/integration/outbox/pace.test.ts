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
  const platform = new ScriptedPlatform({ sendIntervalMs: 300 });
  for (const thread of ['1', '2', '3']) await stage.says('a', `topic ${thread}`, { thread });
  await stage.says('b', 'elsewhere');
  await stage.run(platform);
  await stage.run(platform);
  await stage.settled();
  const inA = platform.calls.filter((call) => call.room === 'a');
  expect(inA).toHaveLength(3);
  expect(Math.min(...gaps(inA))).toBeGreaterThanOrEqual(290);
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
    throw new PlatformFailure({ kind: 'throttled', afterMs: 800 });
  };
  await stage.says('slow', 'patient');
  await stage.run(platform);
  await eventually(() => expect(platform.calls).toHaveLength(1));
  for (let index = 0; index < 5; index += 1) await stage.says('quick', `message ${index}`);
  await stage.says('slow', 'behind it');
  await stage.settled();
  const refused = platform.calls[0]?.at ?? 0;
  const slow = platform.calls.filter((call) => call.room === 'slow').slice(1);
  expect(slow.map((call) => call.text)).toEqual(['patient', 'behind it']);
  for (const call of slow) expect(call.at - refused).toBeGreaterThanOrEqual(790);
  const quick = platform.calls.filter((call) => call.room === 'quick');
  expect(quick).toHaveLength(5);
  for (const call of quick) expect(call.at).toBeLessThan(slow[0]?.at ?? 0);
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
      throw new PlatformFailure({ kind: 'throttled', afterMs: 700, scope: 'account' });
    }
  };
  await stage.says('a', 'first');
  await stage.run(platform);
  await eventually(async () => {
    const [pace] = await stage.database.query(`select 1 from delivery_pace where paused_until > clock_timestamp()`);
    expect(pace).toBeDefined();
  });
  await stage.says('b', 'second');
  await stage.settled();
  const refused = platform.calls[0]?.at ?? 0;
  for (const call of platform.calls.slice(1)) expect(call.at - refused).toBeGreaterThanOrEqual(690);
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
  for (let index = 0; index < 40; index += 1) {
    await stage.says('a', `words ${index}`, preview);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await stage.says('a', 'all the words', { key: 'answer' });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['all the words']);
  const previews = platform.calls.slice(0, -1);
  expect(previews.length).toBeLessThan(10);
  expect(Math.min(...gaps(previews))).toBeGreaterThanOrEqual(240);
});

test('final words go before previews of the same room, and do not wait for the interval of edits', async () => {
  const platform = new ScriptedPlatform({ editIntervalMs: 5_000, sendIntervalMs: 20 });
  await stage.says('a', 'growing', { key: 'preview', importance: 'progress', isFinal: false, thread: '1' });
  await stage.run(platform);
  await eventually(() => expect(platform.calls).toHaveLength(1));
  await stage.says('a', 'growing more', { key: 'preview', importance: 'progress', isFinal: false, thread: '1' });
  await stage.says('a', 'the result', { thread: '2' });
  await stage.says('a', 'grown', { key: 'preview', thread: '1' });
  const startedAt = performance.now();
  await stage.settled();
  expect(performance.now() - startedAt).toBeLessThan(4_000);
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
  await stage.run(platform);
  await stage.settled();
  const [first] = platform.calls;
  const within = (ms: number) => platform.calls.filter((call) => call.at - (first?.at ?? 0) < ms).length;
  expect(within(150)).toBeLessThanOrEqual(6);
  expect(within(1_000)).toBeLessThanOrEqual(11);
  expect(platform.calls.slice(0, 3).map((call) => call.text)).toEqual(['done', 'done', 'done']);
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
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(platform.calls).toEqual([]);
  await stage.database.query('update channel_account set is_enabled = true');
  loop.nudge();
  await stage.settled();
  expect(platform.calls).toHaveLength(2);
});
