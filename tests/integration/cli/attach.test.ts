import { afterAll, beforeAll, expect, test } from 'vitest';
import { attachSession } from '#cli/attach-session.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

async function givenSession(id = newId()): Promise<string> {
  const origin = { channel: 'test', account: 'bot', room: id, kind: 'dm' };
  const key = `test:bot:${id}:-`;
  await database.query('insert into thread (thread_key, conversation) values ($1, $2)', [key, origin]);
  await database.query('insert into session (id, thread_key, agent_name, origin) values ($1, $2, $3, $4)', [
    id,
    key,
    'assistant',
    origin,
  ]);
  await database.query('insert into lane (session_id) values ($1)', [id]);
  return id;
}

async function happen(sessionId: string, ...texts: readonly string[]): Promise<void> {
  const items = texts.map((text) => ({ sessionId, turnId: null, kind: 'notice', payload: { text } }));
  await database.query('select event_put($1::jsonb)', [JSON.stringify(items)]);
}

const end = async (id: string) =>
  await database.query("update session set state = 'ended', ended_at = clock_timestamp() where id = $1", [id]);

/** Attaches and shows what was printed so far. */
function attach(id: string, isJson = false) {
  let printed = '';
  const stop = new AbortController();
  const write = (text: string) => (printed += text);
  const terminal = { stdout: { write }, stderr: { write }, hasColour: false };
  const ended = attachSession({ db: database.db, clock: systemClock, terminal, signal: stop.signal }, id, isJson);
  // Whoever awaits it sees the failure; until then it is nobody's.
  ended.catch(() => undefined);
  return { ended, stop, printed: () => printed };
}

test('a session is shown from its beginning and followed until it has ended', async () => {
  const id = await givenSession();
  await happen(id, 'first\u001b[2J', 'second\nwith two lines');
  const { ended, printed } = attach(id);
  await eventually(() => expect(printed()).toContain('second'));
  await happen(id, 'third');
  await eventually(() => expect(printed()).toContain('third'));
  await happen(id, 'last words');
  await end(id);
  await ended;
  const [head = '', ...lines] = printed().split('\n');
  expect(head).toMatch(/^assistant in test:bot:.*, since \d{4}-\d\d-\d\d \d\d:\d\d UTC$/);
  expect(lines.map((line) => line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d UTC /, ''))).toEqual([
    ' notice: first',
    ' notice: second',
    '    with two lines',
    ' notice: third',
    ' notice: last words',
    'The session has ended.',
    '',
  ]);
});

test('a session that has ended is followed as long as a turn of it could still write', async () => {
  const id = await givenSession();
  const turnId = newId();
  await database.query(
    `insert into turn (id, session_id, seq, event_key, mode, kind, state, agent_name, agent_version, origin, payload)
     values ($1, $2, 1, $3, 'steer', 'message', 'running', 'assistant', 'v1', '{}', '{}')`,
    [turnId, id, newId()],
  );
  await end(id);
  const { ended, printed } = attach(id);
  await eventually(() => expect(printed()).not.toBe(''));
  await happen(id, 'told to stop');
  await eventually(() => expect(printed()).toContain('told to stop'));
  expect(printed()).not.toContain('has ended');
  await database.query("update turn set state = 'cancelled', finished_at = clock_timestamp() where id = $1", [turnId]);
  await ended;
  expect(printed()).toContain('The session has ended.');
});

test('more events than are read at once come all, once and in order, as JSON lines', async () => {
  const id = await givenSession();
  const texts = Array.from({ length: 450 }, (_, index) => `event ${index}`);
  await happen(id, ...texts);
  await end(id);
  const { ended, printed } = attach(id, true);
  await ended;
  const events = printed()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { seq: number; payload: { text: string } });
  expect(events.map((event) => event.payload.text)).toEqual(texts);
  expect(events.at(-1)?.seq).toBe(450);
});

test('Ctrl-C leaves and the session goes on', async () => {
  const id = await givenSession();
  const { ended, stop, printed } = attach(id);
  await eventually(() => expect(printed()).not.toBe(''));
  stop.abort();
  await ended;
  expect(printed()).toContain('Left; the session goes on without you.');
});

test('the beginning of an id is enough when no other session has it', async () => {
  const id = await givenSession('0abc0000-0000-7000-8000-000000000001');
  await givenSession('0abc0000-0000-7000-8000-000000000002');
  await end(id);
  const { ended, printed } = attach('0ABC0000-0000-7000-8000-000000000001', true);
  await ended;
  expect(printed()).toBe('');
  const failure = async (text: string) => await attach(text).ended.catch((err: unknown) => err);
  for (const several of ['0abc', '0abc0000-0', '0abc0000-0000-7000-8000-00000000000']) {
    expect(await failure(several)).toMatchObject({
      code: 'command.invalid',
      message: `Several sessions begin with ${several}.`,
    });
  }
  for (const nothing of ['', '0abd', 'x', '0abc0000-0000-7000-8000-0000000000011', "0' or true", '\u001b[2J']) {
    expect(await failure(nothing)).toMatchObject({
      code: 'command.invalid',
      message: expect.stringMatching(/^There is no session [ -~]*\.$/),
    });
  }
});
