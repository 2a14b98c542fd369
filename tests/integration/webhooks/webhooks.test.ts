import { createHmac } from 'node:crypto';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { listCalls, retryCalls } from '#core/webhooks/inspect-calls.ts';
import { setEndpoints } from '#core/webhooks/set-endpoints.ts';
import { attemptsMax, type WebhookEndpoint, webhookEvents } from '#core/webhooks/webhook.ts';
import { seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { HookServer } from '#tests/support/outside.ts';
import { callOutside } from '#workers/upkeep/call-outside.ts';

let database: TestDatabase;
let hook: HookServer;
let logged = '';
const log = pino(
  { level: 'trace' },
  new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      logged += chunk.toString();
      done();
    },
  }),
);
const chat: Conversation = { channel: 'telegram', account: 'bot', room: '42', kind: 'dm' };
const secret = 'a-very-secret-signing-key';
const never = new AbortController().signal;

beforeAll(async () => {
  database = await openTestDatabase(8);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  hook = await HookServer.start();
  await database.query('delete from outgoing');
  logged = '';
  return async () => {
    await hook[Symbol.asyncDispose]();
  };
});

function endpointOf(overrides: Partial<WebhookEndpoint> = {}): WebhookEndpoint {
  return { url: `${hook.url}/hook?key=in-the-url`, events: webhookEvents, secret, allowsPrivate: true, ...overrides };
}

async function endTurn(state: 'done' | 'failed' | 'cancelled' = 'done'): Promise<string> {
  const turnId = newId();
  const sessionId = await seedSession(database, chat);
  await seedTurn(database, { sessionId, turnId, origin: chat });
  await database.query('update turn set state = $2, finished_at = now(), error_code = $3 where id = $1', [
    turnId,
    state,
    state === 'failed' ? 'model.timeout' : null,
  ]);
  return turnId;
}

async function call(endpoints: readonly WebhookEndpoint[]): Promise<void> {
  await callOutside({ db: database.db, log, clock: systemClock, webhooks: endpoints, mail: undefined }, never);
}

async function makeDue(): Promise<void> {
  await database.query("update outgoing set not_before = now() where state = 'pending'");
}

test('the end of a turn is told once to each web hook that asked for it, signed and timed', async () => {
  const one = endpointOf();
  const other = endpointOf({ url: `${hook.url}/other`, events: ['turn.failed'] });
  await setEndpoints({ db: database.db }, [one, other]);
  const turnId = await endTurn();
  await Promise.all([call([one, other]), call([one, other])]);
  expect(hook.calls).toHaveLength(1);
  const [{ headers, body, path } = { headers: {}, body: '', path: '' }] = hook.calls;
  expect(path).toBe('/hook?key=in-the-url');
  const timestamp = Number(headers['x-switchyard-timestamp']);
  expect(Math.abs(Date.now() / 1000 - timestamp)).toBeLessThan(60);
  const expected = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
  expect(headers['x-switchyard-signature']).toBe(`v1=${expected}`);
  expect(headers['x-switchyard-id']).toBe(`turn.done:${turnId}`);
  expect(JSON.parse(body)).toMatchObject({
    id: `turn.done:${turnId}`,
    event: 'turn.done',
    data: { turnId, state: 'done', agent: 'coder', channel: 'telegram', room: '42' },
  });

  const failed = await endTurn('failed');
  await call([one, other]);
  expect(
    hook.calls
      .slice(1)
      .map(({ path: where }) => where)
      .sort(),
  ).toEqual(['/hook?key=in-the-url', '/other']);
  expect(hook.calls.at(-1)?.body).toContain('model.timeout');
  expect(hook.calls.at(-1)?.body).toContain(failed);
});

test('without a web hook nothing is written, and what was said is never part of a call', async () => {
  await setEndpoints({ db: database.db }, []);
  await endTurn();
  expect(await listCalls(database.db, { rowsMax: 10 })).toEqual([]);
  const endpoint = endpointOf();
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn('cancelled');
  await call([endpoint]);
  expect(hook.calls[0]?.body).not.toContain('do it');
});

test('a receiver that fails is tried again under the same id until it takes it', async () => {
  const endpoint = endpointOf();
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn();
  hook.answers = [500, 302, 204];
  await call([endpoint]);
  await call([endpoint]);
  expect(hook.calls).toHaveLength(1);
  expect(await listCalls(database.db, { rowsMax: 1 })).toMatchObject([
    { state: 'pending', attempts: 1, lastError: 'it answered 500' },
  ]);
  await makeDue();
  await call([endpoint]);
  expect(hook.calls.map(({ path }) => path)).not.toContain('/elsewhere');
  await makeDue();
  await call([endpoint]);
  expect(new Set(hook.calls.map(({ headers }) => headers['x-switchyard-id'])).size).toBe(1);
  expect(await listCalls(database.db, { rowsMax: 1 })).toMatchObject([{ state: 'delivered', attempts: 3 }]);
});

test('a call is given up after its last try, and an operator can make it due again', async () => {
  const endpoint = endpointOf();
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn();
  hook.answers = Array.from({ length: attemptsMax }, () => 503);
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    await makeDue();
    await call([endpoint]);
  }
  const [dead] = await listCalls(database.db, { state: 'dead', rowsMax: 5 });
  expect(dead).toMatchObject({ attempts: attemptsMax, lastError: 'it answered 503' });
  await makeDue();
  await call([endpoint]);
  expect(hook.calls).toHaveLength(attemptsMax);
  expect(await retryCalls(database.db, 'dead')).toBe(1);
  await call([endpoint]);
  expect(await listCalls(database.db, { rowsMax: 1 })).toMatchObject([{ state: 'delivered' }]);
  expect(await retryCalls(database.db, { id: dead?.id ?? '' })).toBe(0);
});

test('410 ends a call at once, and so does an endpoint that is not set up any more', async () => {
  const endpoint = endpointOf();
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn();
  hook.answers = [410];
  await call([endpoint]);
  await endTurn();
  // Another worker may still have the old settings: what it does not know it leaves alone.
  await call([]);
  expect(await listCalls(database.db, { state: 'pending', rowsMax: 5 })).toHaveLength(1);
  await setEndpoints({ db: database.db }, []);
  await call([]);
  expect((await listCalls(database.db, { rowsMax: 5 })).map(({ state, lastError }) => [state, lastError])).toEqual([
    ['dead', 'this web hook is not set up any more'],
    ['dead', 'it answered 410'],
  ]);
});

test('an address that is not on the public internet is refused, written plainly or behind a name', async () => {
  const port = new URL(hook.url).port;
  const hosts = ['127.0.0.1', 'localhost', '[::1]', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '169.254.169.254'];
  const endpoints = hosts.map((host) => endpointOf({ url: `http://${host}:${port}/hook`, allowsPrivate: false }));
  await setEndpoints({ db: database.db }, endpoints);
  await endTurn();
  await call(endpoints);
  expect(hook.calls).toEqual([]);
  const calls = await listCalls(database.db, { rowsMax: 20 });
  expect(calls).toHaveLength(hosts.length);
  for (const one of calls) {
    expect(one.state).toBe('dead');
    expect(one.lastError).toMatch(/may not be reached: it is /);
  }
});

test('neither the address nor the secret of a web hook is in the database or in the log', async () => {
  const endpoint = endpointOf({ url: 'http://127.0.0.1:1/T0/B0/path-that-is-a-secret' });
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn();
  await call([endpoint]);
  const [row] = await listCalls(database.db, { rowsMax: 1 });
  expect(row).toMatchObject({ state: 'pending', lastError: 'it could not be reached (ECONNREFUSED)' });
  const kept = JSON.stringify([
    await database.query('select * from outgoing'),
    await database.query('select * from webhook_endpoint'),
  ]);
  for (const text of [kept, logged]) {
    expect(text).not.toContain('path-that-is-a-secret');
    expect(text).not.toContain(secret);
  }
  expect(logged).toContain('call to the outside failed');
});

test('a worker that dies in a call leaves it to the next one after its lease', async () => {
  const endpoint = endpointOf();
  await setEndpoints({ db: database.db }, [endpoint]);
  await endTurn();
  await database.query("update outgoing set attempts = 1, leased_until = now() + interval '30 s'");
  await call([endpoint]);
  expect(hook.calls).toEqual([]);
  await database.query('update outgoing set leased_until = now()');
  await call([endpoint]);
  expect(hook.calls).toHaveLength(1);
});
