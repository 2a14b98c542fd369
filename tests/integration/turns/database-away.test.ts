import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPool, type Db, openDatabase } from '#core/kit/database.ts';
import { isDatabaseAway } from '#core/kit/database-away.ts';
import { AppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import type { ClaimedTurn, TurnOutcome } from '#core/lanes/lane.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { LiveStage } from '#workers/delivery/live-stage.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import { runClaimedTurn } from '#workers/turn/run-claimed-turn.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase(2);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

function never(): never {
  throw new Error('the turn came further than it could');
}

/** Runs a turn whose agent is looked up by `findAgent`; nothing behind that is reached. */
async function runWith(db: Db, findAgent: TurnDeps['findAgent']): Promise<TurnOutcome> {
  const turn: ClaimedTurn = {
    id: newId(),
    sessionId: newId(),
    seq: 1,
    fence: 1,
    eventKey: 'event',
    mode: 'steer',
    kind: 'message',
    agentName: 'assistant',
    agentVersion: '1',
    origin: { channel: 'telegram', account: '7', room: '1', kind: 'dm' },
    payload: { text: 'hello', author: 'Person' },
    attempts: 1,
    crashes: 0,
    isCancelled: false,
    acceptedAtMs: 0,
    absorbed: [],
  };
  const deps: TurnDeps = {
    db,
    log,
    clock: { now: () => new Date(), sleep: async () => {} },
    findAgent,
    toolsOf: never,
    hooks: createHooks({ log }, []),
    sandboxes: { open: never, check: never },
    askModel: never,
    gate: never,
    findSender: () => undefined,
    liveStage: new LiveStage({ db, log }),
    limits: {
      messageRoundsMax: 1,
      taskRoundsMax: 1,
      messageMs: 60_000,
      taskMs: 60_000,
      contextEventsMax: 20,
      toolResultCharsMax: 1000,
    },
  };
  const { signal } = new AbortController();
  return await runClaimedTurn(deps, turn, { lease: turn, signal, stopping: signal, reachBoundary: never });
}

/** A real error of a connection that the server ends. */
async function lostConnection(): Promise<unknown> {
  return await database.query('select pg_terminate_backend(pg_backend_pid())').then(never, (err: unknown) => err);
}

test('a turn whose database cannot be reached is handed back, not failed', async () => {
  const url = 'postgres://nobody:nothing@127.0.0.1:1/nowhere';
  const away = openDatabase(createPool({ url, connectionsMax: 1, applicationName: 'tests', log }));
  expect(await runWith(away, never)).toEqual({ state: 'released' });
  await away.destroy();
});

test('a turn whose database connection is lost on the way is handed back, not failed', async () => {
  const err = await lostConnection();
  const outcome = await runWith(database.db, async () => {
    if (err instanceof Error) throw err;
    return never();
  });
  expect(outcome).toEqual({ state: 'released' });
});

test('any other failure ends the turn and is said in the chat', async () => {
  const outcome = await runWith(database.db, async () => {
    throw new AppError('agent.unknown', 'There is no such agent.');
  });
  expect(outcome.state).toBe('failed');
  expect(JSON.stringify(outcome.outbox)).toContain('There is no such agent.');
});

test('what Postgres refuses, and what another server refuses, does not count as a database that is away', async () => {
  const refused: unknown = await database.query('select 1 / 0').then(never, (err: unknown) => err);
  expect(isDatabaseAway(refused)).toBe(false);
  expect(isDatabaseAway(new AppError('model.unavailable', 'x', { cause: await lostConnection() }))).toBe(false);
  expect(isDatabaseAway(new Error('Connection terminated unexpectedly'))).toBe(true);
  expect(isDatabaseAway(new Error('timeout exceeded when trying to connect'))).toBe(true);
});
