import { afterEach, beforeEach, expect, test } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import { eventually } from '#tests/support/eventually.ts';
import { PlatformFailure, ScriptedPlatform } from '#tests/support/scripted-platform.ts';
import { createLiveAnswer, type LiveAnswer } from '#workers/delivery/live-answer.ts';
import { LiveStage } from '#workers/delivery/live-stage.ts';
import { OutboxStage } from '../outbox/outbox-stage.ts';
import { conversation, insertTurn } from './turn-stage.ts';

let stage: OutboxStage;
let sessionId: string;
let turnId: string;
const open: LiveAnswer[] = [];

beforeEach(async () => {
  stage = await OutboxStage.open();
  ({ sessionId, turnId } = await insertTurn(stage.database));
});
afterEach(async () => {
  for (const live of open.splice(0)) await live.close();
  await stage[Symbol.asyncDispose]();
});

function follow(
  platform: ScriptedPlatform,
  more: { readonly isResumed?: boolean; readonly sessionId?: string; readonly turnId?: string } = {},
  { database, log }: OutboxStage = stage,
): LiveAnswer {
  const live = createLiveAnswer({
    stage: new LiveStage({ db: database.db, log }),
    sender: platform,
    conversation,
    sessionId,
    turnId,
    draftId: 7,
    isResumed: false,
    ...more,
  });
  open.push(live);
  live.begin('answer');
  return live;
}

async function final(text: string): Promise<void> {
  await stage.says('a', text, { key: 'answer', conversation, sessionId, turnId });
}

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves once another worker could find what the platform shows. */
async function isStored(): Promise<void> {
  await eventually(async () => expect(await stage.states()).toHaveProperty('answer'));
}

async function drip(live: LiveAnswer, words: number, everyMs: number): Promise<string> {
  let text = '';
  for (let index = 0; index < words; index += 1) {
    live.push(`word${index} `);
    text += `word${index} `;
    await pause(everyMs);
  }
  return text;
}

test('the first words are on the screen within 300 ms in every way a channel can show them', async () => {
  const ways = [
    { nativeStream: 'draft', editIntervalMs: 350 },
    { nativeStream: 'append' },
    { editIntervalMs: 1200 },
  ] as const;
  for (const way of ways) {
    // A machine that is held up shows some answers late, but not each of them.
    await eventually(async () => {
      await using own = await OutboxStage.open();
      const platform = new ScriptedPlatform(way);
      const loop = await own.run(platform);
      const live = follow(platform, await insertTurn(own.database), own);
      await pause(50);
      const firstAt = performance.now();
      live.push('Hello');
      const bell = setInterval(() => loop.nudge(), 10);
      const shown = () => platform.calls.find((call) => call.text.startsWith('Hello'));
      await eventually(() => expect(shown()).toBeDefined(), { interval: 5 }).finally(() => clearInterval(bell));
      await live.close();
      expect((shown()?.at ?? Number.POSITIVE_INFINITY) - firstAt).toBeLessThan(300);
    });
  }
});

test('a draft is shown at once and then at its interval, always with the latest words, never two at a time', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'draft', editIntervalMs: 120 });
  let inFlight = 0;
  let inFlightMax = 0;
  platform.script = async () => {
    inFlight += 1;
    inFlightMax = Math.max(inFlightMax, inFlight);
    await pause(30);
    inFlight -= 1;
  };
  const live = follow(platform);
  const startedAt = performance.now();
  const text = await drip(live, 40, 15);
  await eventually(() => expect(platform.callsOf('draft').at(-1)?.text).toBe(text));
  const tookMs = performance.now() - startedAt;
  expect(inFlightMax).toBe(1);
  const drafts = platform.callsOf('draft').filter((call) => call.text !== '');
  expect(drafts.length).toBeLessThanOrEqual(1 + Math.ceil(tookMs / 115));
  for (const [index, draft] of drafts.slice(1).entries()) {
    expect(draft.at - (drafts[index]?.at ?? 0)).toBeGreaterThanOrEqual(115);
  }
});

test('a stream is appended to with what is new only, and its final text is an edit of the same message', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append' });
  await stage.run(platform);
  const live = follow(platform);
  let text = '';
  for (let index = 0; index < 12; index += 1) {
    const words = `${`chapter${index} `.repeat(12)}\n\n`;
    live.push(words);
    text += words;
    await pause(60);
  }
  await eventually(() => expect(platform.textsIn('a').join('').length).toBeGreaterThan(900));
  const shown = platform.textsIn('a').join('');
  expect(text.startsWith(shown)).toBe(true);
  expect(
    platform
      .callsOf('append')
      .map((call) => call.text)
      .join(''),
  ).toBe(shown);
  await live.pause();
  await final('the whole answer');
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['the whole answer']);
  expect(platform.callsOf('open')).toHaveLength(1);
  expect(platform.callsOf('send')).toHaveLength(0);
});

test('a worker that dies leaves its stream to the next one, which goes on by edits of the same message', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append', editIntervalMs: 20 });
  const first = follow(platform);
  first.push('The first half, ');
  await eventually(() => expect(platform.textsIn('a').join('')).toContain('The first half'));
  await isStored();
  await first.close();

  await stage.run(platform);
  const second = follow(platform, { isResumed: true });
  const loopBell = setInterval(() => void stage.says('other', 'bell', { key: newId() }), 200);
  second.push('The first half, and then some more of it, told again from the beginning. ');
  await eventually(() => expect(platform.callsOf('edit').length).toBeGreaterThan(0));
  clearInterval(loopBell);
  await second.pause();
  await final('both halves');
  await stage.settled();
  expect(platform.callsOf('open')).toHaveLength(1);
  expect(platform.textsIn('a')).toEqual(['both halves']);
});

test('a stream that the platform ends goes on by edits, and nothing of it is lost', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append', editIntervalMs: 20 });
  await stage.run(platform);
  platform.script = ({ op }) => {
    if (op === 'append' && platform.callsOf('append').length > 1) throw new PlatformFailure({ kind: 'gone' });
  };
  const live = follow(platform);
  live.push('one ');
  await eventually(() => expect(platform.textsIn('a').join('')).toContain('one'));
  live.push(`${'two '.repeat(80)}`);
  await eventually(() => expect(platform.callsOf('append').length).toBe(2));
  live.push('three ');
  await eventually(
    async () => {
      await stage.says('bell', 'ring', { key: newId() });
      expect(platform.textsIn('a').join('')).toMatch(/^one (?:two ){80}three /);
    },
    { interval: 200 },
  );
  expect(platform.textsIn('a')).toHaveLength(1);
});

test('a model call that is made again does not leave its first words in the stream', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append', editIntervalMs: 20 });
  await stage.run(platform);
  const live = follow(platform);
  live.push('wrong words ');
  await eventually(() => expect(platform.textsIn('a').join('')).toContain('wrong'));
  live.reset();
  live.push('right words, long enough to be shown again ');
  await eventually(
    async () => {
      await stage.says('bell', 'ring', { key: newId() });
      expect(platform.textsIn('a').join('')).toMatch(/^right words/);
    },
    { interval: 200 },
  );
});

test('an account that may open no more streams types instead, and the answer comes whole', async () => {
  const platform = new ScriptedPlatform({
    nativeStream: 'append',
    typingIntervalMs: 100,
    budgets: { stream: { count: 1, perMs: 3_600_000 } },
  });
  await stage.run(platform);
  const first = follow(platform);
  first.push('streamed ');
  await eventually(() => expect(platform.callsOf('append')).toHaveLength(1));
  await first.pause();
  const second = follow(platform);
  second.begin('second');
  second.push('not streamed ');
  await eventually(() => expect(platform.callsOf('typing').length).toBeGreaterThan(0));
  expect(platform.callsOf('open')).toHaveLength(1);
  await second.pause();
  await stage.says('a', 'whole', { key: 'second', conversation, sessionId, turnId });
  await stage.settled();
  expect(platform.textsIn('a')).toContain('whole');
});

test('a throttled preview waits as long as it is told, tells every worker, and shows the latest words then', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append' });
  const live = follow(platform);
  platform.script = ({ op }) => {
    if (op === 'append' && platform.callsOf('append').length === 2) {
      // Said while the preview has to wait.
      live.push('three '.repeat(80));
      throw new PlatformFailure({ kind: 'throttled', afterMs: 900 });
    }
  };
  live.push('one ');
  await eventually(() => expect(platform.callsOf('append')).toHaveLength(1));
  live.push('two '.repeat(80));
  await eventually(() => expect(platform.callsOf('append').length).toBeGreaterThanOrEqual(3));
  const [, refused, next] = platform.callsOf('append');
  expect((next?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThanOrEqual(890);
  expect(next?.text).toContain('three');
  await eventually(async () =>
    expect(
      await stage.database.query(`select slowdown from delivery_pace where pace_key = 'telegram:7:a'`),
    ).toMatchObject([{ slowdown: 2 }]),
  );
});

test('a platform that hangs holds up neither the next step nor the end of a turn', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'draft', editIntervalMs: 10 });
  const hang = Promise.withResolvers<void>();
  platform.script = async () => await hang.promise;
  // A machine that is held up takes longer now and then, but not each time.
  await eventually(async () => {
    const known = platform.callsOf('draft').length;
    const live = follow(platform);
    live.push('words');
    await eventually(() => expect(platform.callsOf('draft').length).toBe(known + 1));
    const startedAt = performance.now();
    await live.close();
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });
  hang.resolve();
});

test('a stream that opens only after the answer stands there is taken away again', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append' });
  const slow = Promise.withResolvers<void>();
  platform.script = async ({ op }) => {
    if (op === 'open') await slow.promise;
  };
  await stage.run(platform);
  const live = follow(platform);
  live.push('words ');
  await eventually(() => expect(platform.callsOf('open')).toHaveLength(1));
  await live.close();
  await final('the answer');
  await stage.settled();
  slow.resolve();
  await eventually(() => expect(platform.callsOf('delete')).toHaveLength(1));
  await eventually(() => expect(platform.textsIn('a')).toEqual(['the answer']));
});

test('a draft whose words pause is shown again before it vanishes, and tells what is being done', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'draft', editIntervalMs: 20 });
  const live = follow(platform);
  live.push('Let me look.');
  await eventually(() => expect(platform.callsOf('draft').at(-1)?.text).toBe('Let me look.'));
  live.status('run a command');
  await eventually(() => expect(platform.callsOf('draft').at(-1)?.text).toBe('Let me look.\n\n_run a command_'));
});

test('a preview whose turn ended without its last words is ended and says that nothing follows', async () => {
  const platform = new ScriptedPlatform({ nativeStream: 'append' });
  const live = follow(platform);
  live.push('half a sentence ');
  await eventually(() => expect(platform.textsIn('a').join('')).toContain('half'));
  await isStored();
  await live.close();
  await stage.database.query(
    `update turn set state = 'failed', started_at = clock_timestamp(), finished_at = clock_timestamp() - interval '1 minute' where id = $1`,
    [turnId],
  );
  const { dropStale } = await import('#core/outbox/drop-stale.ts');
  await dropStale(stage.database);
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual([expect.stringContaining('half a sentence'), 'This broke off here.']);
});
