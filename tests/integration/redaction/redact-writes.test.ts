import { afterAll, beforeAll, expect, test } from 'vitest';
import { editMessage, putMessage, readHistory } from '#bots/hosted/hosted-store.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import { verifyAudit } from '#core/audit/verify-audit.ts';
import { insertRawEvents } from '#core/inbox/inbox-store.ts';
import type { Db } from '#core/kit/database.ts';
import { newId } from '#core/kit/ids.ts';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { appendEvents } from '#core/lanes/append-events.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import { redactWrites } from '#core/redaction/redact-writes.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const value = 'written-"secret"-0123456789';
const awsKey = `AKIA${'IOSFODNN7EXAMPLE'}`;
const place: Conversation = { channel: 'test', account: 'bot', room: 'r', kind: 'dm' };

let database: TestDatabase;
let db: Db;

beforeAll(async () => {
  database = await openTestDatabase();
  const secrets = createSecretBook();
  secrets.replace('test', [{ label: 'token', value }]);
  db = redactWrites(database.db, createRedactor({ secrets }));
});
afterAll(async () => await database[Symbol.asyncDispose]());

async function session(): Promise<string> {
  const id = newId();
  const key = `test:bot:${id}:-`;
  await database.query('insert into thread (thread_key, conversation) values ($1, $2)', [key, JSON.stringify(place)]);
  await database.query(`insert into session (id, thread_key, agent_name, origin) values ($1, $2, 'assistant', $3)`, [
    id,
    key,
    JSON.stringify(place),
  ]);
  return id;
}

async function textOf(sql: string): Promise<string> {
  return JSON.stringify(await database.query(sql));
}

test('what is said in a chat is written without secrets, in a transaction too, and everything else as it is', async () => {
  const text = `known ${value}\n${awsKey} and ünïcode ✓ "quoted" \\ back`;
  const message = (key: string, markdown: string) => ({
    key,
    conversation: place,
    importance: 'result' as const,
    body: { parts: [{ type: 'markdown' as const, markdown }] },
  });
  await db.transaction().execute(async (tx) => {
    await putMessages(tx, [message('one', text), message('two', 'harmless ünïcode ✓ \\ "')]);
  });
  const rows = await database.query<{ markdown: string }>(
    `select body -> 'parts' -> 0 ->> 'markdown' as markdown from outbox order by key`,
  );
  expect(rows.map(({ markdown }) => markdown)).toEqual([
    'known [redacted: token]\n[redacted: an AWS key] and ünïcode ✓ "quoted" \\ back',
    'harmless ünïcode ✓ \\ "',
  ]);
});

test('session events and turns are written without secrets', async () => {
  const sessionId = await session();
  await appendEvents(db, sessionId, [{ kind: 'notice', payload: { text: `see ${value}`, [value]: 1 } }]);
  await turnAcceptor({ db, wakes: { ring: async () => await Promise.resolve() } })({
    turnId: newId(),
    sessionId,
    eventKey: newId(),
    mode: 'followup',
    kind: 'message',
    agentName: 'assistant',
    agentVersion: 'v1',
    origin: place,
    payload: { text: `use ${awsKey}`, author: 'ann' },
  });
  expect(await textOf('select kind, payload from event')).toContain('see [redacted: token]');
  expect(await textOf('select payload from turn')).toContain('use [redacted: an AWS key]');
  expect((await textOf('select payload from event')) + (await textOf('select payload from turn'))).not.toContain(
    '0123456789',
  );
});

test('the audit is written without secrets, and its hashes are right', async () => {
  await appendAudit(db, [
    { kind: 'test.said', chainKey: 'x', body: { text: value, nested: [{ deep: `a ${awsKey}` }] } },
  ]);
  expect(await textOf('select body from audit_body')).toContain('a [redacted: an AWS key]');
  expect(await textOf('select body from audit_body')).not.toContain(awsKey);
  expect(await verifyAudit(database.db)).toMatchObject({ problems: [] });
});

test('what is said in our own chats is shown there without secrets, by whoever it is said', async () => {
  const body = (markdown: string) => ({ parts: [{ type: 'markdown' as const, markdown }] });
  for (const direction of ['in', 'out'] as const) {
    const message = { threadKey: 'web:local:r:-', messageId: direction, direction, body: body(`say ${value}`) };
    await putMessage(db, direction === 'in' ? { ...message, author: 'ann' } : message);
  }
  await editMessage(db, 'web:local:r:-', 'out', body(`edited ${awsKey}`));
  const { messages } = await readHistory(db, 'web:local:r:-', { rowsMax: 5 });
  expect(messages.map((message) => message.body)).toEqual([
    body('say [redacted: token]'),
    body('edited [redacted: an AWS key]'),
  ]);
});

test('what a platform sent is stored as it came: a value that was asked for comes that way', async () => {
  const [row] = await insertRawEvents(db, place, [{ dedupKey: newId(), raw: { text: `${value} ${awsKey}` } }]);
  expect(row?.raw).toEqual({ text: `${value} ${awsKey}` });
  expect(await textOf('select raw from inbox')).toContain(awsKey);
});
