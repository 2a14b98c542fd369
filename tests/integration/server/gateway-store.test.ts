import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { consoleConversation } from '#bots/console/console-raw.ts';
import { type FeedNote, HostedFeed } from '#bots/hosted/hosted-feed.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { ensureSession, ensureThread } from '#core/sessions/session-store.ts';
import { openGatewayReads } from '#server/gateway-store.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

let database: TestDatabase;
const stop = new AbortController();
const conversation = consoleConversation({ room: 'ada' });
const key = threadKey(conversation);
const notes: FeedNote[] = [];
let feeding: Promise<void>;

beforeAll(async () => {
  database = await openTestDatabase();
  const feed = new HostedFeed({ databaseUrl: database.url, clock: systemClock, log: pino({ level: 'silent' }) });
  feed.subscribe(key, (note) => notes.push(note));
  feeding = feed.run(stop.signal);
  await eventually(() => expect(feed.isListening).toBe(true));
});
afterAll(async () => {
  stop.abort();
  await feeding;
  await database[Symbol.asyncDispose]();
});

/** A lane with turns in the given states, oldest first. */
async function makeLane(
  turns: readonly { state: string; channel?: string }[],
): Promise<{ sessionId: string; ids: string[] }> {
  await ensureThread(database.db, conversation);
  const session = await ensureSession(database.db, { threadKey: key, agentName: newId(), origin: conversation });
  await database.query('insert into lane (session_id) values ($1)', [session.id]);
  const ids: string[] = [];
  for (const [index, { state, channel }] of turns.entries()) {
    const id = newId();
    ids.push(id);
    await database.query(
      `insert into turn (id, session_id, seq, event_key, mode, kind, agent_name, agent_version, origin, payload)
       values ($1, $2, $3, $4, 'steer', 'message', 'assistant', 'v1', $5, $6)`,
      [
        id,
        session.id,
        index + 1,
        id,
        { ...conversation, channel: channel ?? 'console' },
        { text: 'hello', author: 'ada', messageId: `m${index + 1}` },
      ],
    );
    await setState(id, state);
  }
  return { sessionId: session.id, ids };
}

async function setState(id: string, state: string): Promise<void> {
  await database.query(
    `update turn set state = $2, waiting_for = case when $2 = 'waiting' then 'approval' end,
       into_seq = case when $2 = 'absorbed' then 1 end,
       finished_at = case when $2 in ('done', 'failed', 'cancelled', 'absorbed') then clock_timestamp() end
     where id = $1`,
    [id, state],
  );
}

describe('what the gateway reads', () => {
  it('a lane comes with its turns and readable events, newest first', async () => {
    const reads = openGatewayReads(database.db);
    const { sessionId, ids } = await makeLane([{ state: 'done' }, { state: 'waiting' }, { state: 'queued' }]);
    const payloads = [
      { kind: 'user_message', payload: { text: 'hello' } },
      {
        kind: 'assistant_message',
        payload: {
          parts: [
            { type: 'text', text: 'one' },
            { type: 'tool', name: 'exec' },
          ],
        },
      },
      { kind: 'turn_ended', payload: { state: 'done' } },
    ];
    for (const [index, { kind, payload }] of payloads.entries()) {
      await database.query('insert into event (session_id, seq, turn_id, kind, payload) values ($1, $2, $3, $4, $5)', [
        sessionId,
        index + 1,
        ids[0],
        kind,
        payload,
      ]);
    }
    const lane = await reads.readLane(sessionId);
    expect(lane).toMatchObject({ threadKey: key, state: 'idle', openTurns: 2 });
    expect(lane?.turns.map(({ state }) => state)).toEqual(['queued', 'waiting', 'done']);
    expect(lane?.events.map(({ text }) => text)).toEqual([
      '{"state": "done"}',
      'one\n{"name": "exec", "type": "tool"}',
      'hello',
    ]);
    expect(await reads.readLane(newId())).toBeUndefined();
  });

  it('only messages on their way to the console or the web chat count as undelivered', async () => {
    const reads = openGatewayReads(database.db);
    const { ids } = await makeLane([{ state: 'running' }]);
    const put = (state: string, place: string) =>
      database.query(
        `insert into outbox (id, key, turn_id, conversation, thread_key, importance, body, state)
         values ($1, $2, $3, jsonb_build_object('channel', split_part($4, ':', 1), 'account', split_part($4, ':', 2), 'room', split_part($4, ':', 3),
                 'kind', 'dm'), $4,
                 'result', '{}', $5)`,
        [newId(), newId(), ids[0], place, state],
      );
    await put('pending', key);
    await put('sent', key);
    await put('dead', key);
    await put('pending', 'telegram:1:2:-');
    expect(await reads.countUndelivered(ids[0] ?? '')).toBe(1);
    await put('pending', 'web:local:operator:abcdefgh');
    expect(await reads.countUndelivered(ids[0] ?? '')).toBe(2);
  });

  it('turns that are open or ended lately are told with what caused them', async () => {
    const { ids } = await makeLane([
      { state: 'done' },
      { state: 'absorbed' },
      { state: 'running' },
      { state: 'queued' },
    ]);
    const turns = (await openGatewayReads(database.db).readTurns(key)).filter(({ turnId }) => ids.includes(turnId));
    expect(turns).toMatchObject([
      { state: 'done', messageId: 'm1' },
      { state: 'absorbed', intoTurnId: ids[0] },
      { state: 'started', messageId: 'm3' },
    ]);
  });
});

describe('turn states', () => {
  it('a console turn tells each change of its state when it commits', async () => {
    const { ids } = await makeLane([{ state: 'running' }]);
    const id = ids[0] ?? '';
    for (const state of ['waiting', 'running', 'queued', 'running', 'done']) await setState(id, state);
    const told = () => notes.flatMap((note) => (note.kind === 'turn' && note.turnId === id ? [note.state] : []));
    await expect.poll(told).toEqual(['started', 'waiting', 'started', 'started', 'done']);
    expect(notes.find((note) => note.kind === 'turn' && note.turnId === id)).toMatchObject({ messageId: 'm1' });
  });

  it("other channels' turns tell nothing", async () => {
    const { ids } = await makeLane([{ state: 'running', channel: 'telegram' }]);
    const { ids: later } = await makeLane([{ state: 'running' }]);
    const told = () => notes.flatMap((note) => (note.kind === 'turn' ? [note.turnId] : []));
    await expect.poll(told).toEqual(expect.arrayContaining(later));
    expect(told().filter((id) => ids.includes(id))).toEqual([]);
  });
});
