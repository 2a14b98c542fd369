import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import type { ClaimedTurn } from '#core/lanes/lane.ts';
import { seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { hookCall } from '#tests/support/hook-call.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import { type HookNews, type HookNewsKind, hookNewsKinds } from '#workers/hooks/hook-news.ts';
import { EndedTurns } from '#workers/turn/tell-ended.ts';

const log = pino({ level: 'silent' });
const { agent } = hookCall();
const place = { channel: 'telegram', account: '7', room: '1', kind: 'dm' } as const;
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

function claimedTurn(sessionId: string): ClaimedTurn {
  return {
    id: newId(),
    sessionId,
    seq: 1,
    fence: 1,
    eventKey: newId(),
    mode: 'steer',
    kind: 'message',
    agentName: agent.name,
    agentVersion: agent.version,
    origin: place,
    payload: { text: 'hello', author: 'Person' },
    attempts: 3,
    crashes: 1,
    isCancelled: false,
    acceptedAtMs: 0,
    absorbed: [],
  };
}

/** Writes events into the session's log, as turns do. */
async function write(sessionId: string, turnId: string, events: readonly Record<string, unknown>[]): Promise<void> {
  await seedTurn(database, { sessionId, turnId });
  for (const { kind, ...payload } of events) {
    await database.query(
      `insert into event (session_id, seq, turn_id, kind, payload)
       values ($1, (select coalesce(max(seq), 0) + 1 from event where session_id = $1), $2, $3, $4)`,
      [sessionId, turnId, kind, JSON.stringify(payload)],
    );
  }
}

function openEnded(kinds: readonly HookNewsKind[], findAgent = async () => agent) {
  const told: HookNews[] = [];
  const hooks = createHooks({ log }, [
    { name: 'diary', priority: 1, source: 'test', news: { kinds, tell: (news) => void told.push(news) } },
  ]);
  return { told, hooks, ended: new EndedTurns({ db: database.db, log, hooks, findAgent }) };
}

const answer = (calls: readonly { readonly id: string; readonly name: string; readonly args: unknown }[]) => ({
  kind: 'assistant_message',
  parts: calls.map(({ id, name, args }) => ({
    type: 'tool_call',
    id,
    name,
    rawArguments: JSON.stringify(args),
    parsed: { ok: true, arguments: args },
  })),
  model: 'openai:gpt-4o',
  stop: 'tools',
  usage: { input: 12, output: 3 },
  costMicros: '1500',
});

test('an ended turn is told with all it did, over the passes of workers that died, and with nothing of other turns', async () => {
  const sessionId = await seedSession(database, place);
  const turn = claimedTurn(sessionId);
  await write(sessionId, newId(), [answer([]), { kind: 'turn_ended', state: 'done' }]);
  await write(sessionId, turn.id, [
    { kind: 'user_message', sourceTurnId: turn.id, text: 'hello', author: 'Person' },
    answer([
      { id: 'a', name: 'exec', args: { command: 'x'.repeat(400) } },
      { id: 'b', name: 'exec', args: { command: 'rm' } },
    ]),
    { kind: 'tool_started', callId: 'a', name: 'exec' },
    { kind: 'tool_finished', callId: 'a', name: 'exec', text: 'fine', isError: false, ms: 41 },
    { kind: 'tool_finished', callId: 'b', name: 'exec', text: 'Denied.', isError: true },
    // A provider that uses an id again.
    answer([{ id: 'a', name: 'glob', args: {} }]),
    { kind: 'tool_started', callId: 'a', name: 'glob' },
    { kind: 'tool_finished', callId: 'a', name: 'glob', text: 'no such folder', isError: true, ms: 2 },
    { kind: 'turn_ended', state: 'done' },
  ]);
  const { told, hooks, ended } = openEnded(hookNewsKinds);
  ended.tell(turn, { state: 'done' });
  await ended[Symbol.asyncDispose]();
  await hooks[Symbol.asyncDispose]();
  expect(told).toMatchObject([
    { kind: 'job_completed', state: 'done', code: undefined, work: { turnId: turn.id, sessionId, attempts: 3 } },
    {
      kind: 'turn_trajectory',
      state: 'done',
      droppedSteps: 0,
      steps: [
        { kind: 'model', model: 'openai:gpt-4o', inputTokens: 12, outputTokens: 3, costMicros: 1500n, calls: 2 },
        { kind: 'tool', tool: 'exec', outcome: 'ok', ms: 41, outputChars: 4 },
        { kind: 'tool', tool: 'exec', outcome: 'refused', ms: undefined, input: '{"command":"rm"}' },
        { kind: 'model', calls: 1 },
        { kind: 'tool', tool: 'glob', outcome: 'failed', ms: 2 },
      ],
    },
  ]);
  const [, trajectory] = told;
  const [, long] = trajectory?.kind === 'turn_trajectory' ? trajectory.steps : [];
  expect(long?.kind === 'tool' ? long.input : '').toMatch(/^\{"command":"x{187}…$/);
});

test('a long turn is told by its last steps', async () => {
  const sessionId = await seedSession(database, place);
  const turn = claimedTurn(sessionId);
  await write(
    sessionId,
    turn.id,
    Array.from({ length: 230 }, () => answer([])),
  );
  const { told, hooks, ended } = openEnded(['turn_trajectory']);
  ended.tell(turn, { state: 'failed', errorCode: 'turn.iterations' });
  await ended[Symbol.asyncDispose]();
  await hooks[Symbol.asyncDispose]();
  expect(told).toMatchObject([{ kind: 'turn_trajectory', state: 'failed', droppedSteps: 30 }]);
  expect(told[0]?.kind === 'turn_trajectory' ? told[0].steps.length : 0).toBe(200);
});

test('a turn that waits or was handed back has not ended, and one whose agent is gone holds nothing up', async () => {
  const sessionId = await seedSession(database, place);
  const { told, hooks, ended } = openEnded(hookNewsKinds);
  ended.tell(claimedTurn(sessionId), { state: 'waiting' });
  ended.tell(claimedTurn(sessionId), { state: 'released' });
  const gone = openEnded(hookNewsKinds, async () => {
    throw new Error('no such agent');
  });
  gone.ended.tell(claimedTurn(sessionId), { state: 'done' });
  await gone.ended[Symbol.asyncDispose]();
  await ended[Symbol.asyncDispose]();
  await hooks[Symbol.asyncDispose]();
  expect([...told, ...gone.told]).toEqual([]);
});
