import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ReactionSign } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { eventually } from '#tests/support/eventually.ts';
import { ScriptedPlatform } from '#tests/support/scripted-platform.ts';
import { LiveStage } from '#workers/delivery/live-stage.ts';
import { openProgressCard, type ProgressCard } from '#workers/delivery/progress-card.ts';
import { openTurnSign } from '#workers/delivery/turn-sign.ts';
import { OutboxStage } from '../outbox/outbox-stage.ts';
import { conversation, insertTurn } from './turn-stage.ts';

let stage: OutboxStage;
let turn: { readonly sessionId: string; readonly turnId: string };
const open: ProgressCard[] = [];

beforeEach(async () => {
  stage = await OutboxStage.open();
  turn = await insertTurn(stage.database);
});
afterEach(async () => {
  for (const card of open.splice(0)) await card.close();
  await stage[Symbol.asyncDispose]();
});

function cardFor(
  platform: ScriptedPlatform,
  more: { readonly isResumed?: boolean; readonly sessionId?: string; readonly turnId?: string } = {},
): ProgressCard {
  const card = openProgressCard({
    stage: new LiveStage({ db: stage.database.db, log: stage.log }),
    sender: platform,
    conversation,
    ...turn,
    isResumed: false,
    earlier: [],
    ...more,
  });
  open.push(card);
  return card;
}

const pause = async (ms: number) => await new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves once a card of long work that begins now is shown: one whose work began before it would be shown too. */
async function longWorkIsShown(): Promise<void> {
  const other = await insertTurn(stage.database);
  cardFor(new ScriptedPlatform({ progress: 'edited-message' }), other).started('1', 'long work');
  await eventually(async () => expect(await stage.states()).toHaveProperty(`turn:${other.turnId}:progress`));
}

test('work that is over within two seconds has no card', async () => {
  // Where the machine is held up the work takes longer than two seconds; then it is done again.
  await eventually(async () => {
    const quick = await insertTurn(stage.database);
    const card = cardFor(new ScriptedPlatform({ progress: 'edited-message' }), quick);
    card.started('1', 'run ls');
    await pause(300);
    card.finished('1', false);
    await longWorkIsShown();
    await card.close();
    expect(card.last('done')).toEqual([]);
    expect(await stage.states()).not.toHaveProperty(`turn:${quick.turnId}:progress`);
  });
});

test('longer work has one card, which is edited as steps begin and end and says at last how it ended', async () => {
  const platform = new ScriptedPlatform({ progress: 'edited-message' });
  const loop = await stage.run(platform);
  const bell = setInterval(() => loop.nudge(), 50);
  const card = cardFor(platform);
  card.started('1', 'download the report');
  await eventually(() => expect(platform.textsIn('a')).toEqual(['Working on it\nrunning download the report']));
  card.finished('1', false);
  card.started('2', 'run\n  the   tests');
  await eventually(() =>
    expect(platform.textsIn('a')).toEqual(['Working on it\ndone download the report\nrunning run the tests']),
  );
  card.finished('2', true);
  await card.close();
  await putMessages(stage.database.db, card.last('failed'));
  await stage.settled();
  clearInterval(bell);
  expect(platform.textsIn('a')).toEqual(['Failed after 2 steps\ndone download the report\nfailed run the tests']);
  expect(platform.callsOf('send')).toHaveLength(1);
});

test('a card that a dead worker left is gone on with, and what was never begun is skipped at the end', async () => {
  const platform = new ScriptedPlatform({ progress: 'card' });
  const loop = await stage.run(platform);
  const bell = setInterval(() => loop.nudge(), 50);
  const first = cardFor(platform);
  first.started('1', 'long work');
  await eventually(() => expect(platform.textsIn('a')).toHaveLength(1));
  await first.close();
  const second = cardFor(platform, { isResumed: true });
  await pause(100);
  second.started('1', 'long work');
  await second.close();
  await putMessages(stage.database.db, second.last('cancelled'));
  await stage.settled();
  clearInterval(bell);
  expect(platform.textsIn('a')).toEqual(['Stopped after 1 step\nskipped long work']);
});

test('a channel whose preview says what is being done, or that shows no progress, has no card', async () => {
  for (const platform of [
    new ScriptedPlatform({ progress: 'edited-message', nativeStream: 'draft' }),
    new ScriptedPlatform({ progress: 'none' }),
  ]) {
    const card = cardFor(platform);
    card.started('1', 'long work');
    await longWorkIsShown();
    expect(card.last('done')).toEqual([]);
    expect(platform.calls).toEqual([]);
    expect(await stage.states()).not.toHaveProperty(`turn:${turn.turnId}:progress`);
  }
});

function signFor(platform: ScriptedPlatform, mayStand = false) {
  const live = new LiveStage({ db: stage.database.db, log: stage.log });
  return openTurnSign({ stage: live, sender: platform, conversation, messageId: '42', mayStand });
}
const signs = (platform: ScriptedPlatform) => platform.callsOf('react').map((call) => call.text as ReactionSign | '');

/** Resolves once a sign that is asked for now is shown: one that was asked for before it would be shown too. */
async function signIsShown(): Promise<void> {
  const platform = new ScriptedPlatform({ reactions: true });
  signFor(platform).working();
  await eventually(() => expect(signs(platform)).toEqual(['working']));
}

test('a turn that takes its time has a sign under its question, which goes with the answer', async () => {
  const platform = new ScriptedPlatform({ reactions: true });
  const sign = signFor(platform);
  sign.working();
  await eventually(() => expect(signs(platform)).toEqual(['working']));
  sign.end('done');
  await eventually(() => expect(signs(platform)).toEqual(['working', '']));
});

test('a turn that fails leaves a sign of it; one that ends at once leaves none', async () => {
  const platform = new ScriptedPlatform({ reactions: true });
  const failed = signFor(platform);
  failed.end('failed');
  await eventually(() => expect(signs(platform)).toEqual(['failed']));
  const quick = signFor(platform);
  quick.working();
  quick.end('done');
  await signIsShown();
  expect(signs(platform)).toEqual(['failed']);
});

test('the sign that a dead worker left is taken away', async () => {
  const platform = new ScriptedPlatform({ reactions: true });
  signFor(platform, true).end('done');
  await eventually(() => expect(signs(platform)).toEqual(['']));
});

test('no more signs are shown than the account may show, and half of them is left to taking them away', async () => {
  const platform = new ScriptedPlatform({ reactions: true, budgets: { react: { count: 4, perMs: 60_000 } } });
  const shown = Array.from({ length: 6 }, () => signFor(platform));
  for (const sign of shown) sign.working();
  await eventually(() => expect(signs(platform)).toHaveLength(2));
  await signIsShown();
  for (const sign of shown) sign.end('done');
  await eventually(() => expect(signs(platform)).toEqual(['working', 'working', '', '']));
});

test('a channel with drafts, without reactions, or without the message shows no sign', async () => {
  const drafts = new ScriptedPlatform({ reactions: true, nativeStream: 'draft' });
  const none = new ScriptedPlatform({ reactions: false });
  for (const platform of [drafts, none]) {
    const sign = signFor(platform, true);
    sign.working();
    await signIsShown();
    sign.end('failed');
  }
  await signIsShown();
  expect([...drafts.calls, ...none.calls]).toEqual([]);
});
