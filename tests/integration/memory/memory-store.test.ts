import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import { memoryScope, saveFact, searchFacts } from '#core/memory/memory-store.ts';
import { ensureSession, ensureThread } from '#core/sessions/session-store.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let sessionId: string;
const conversation = { channel: 'telegram', account: '42', room: '7', kind: 'dm' as const };

beforeAll(async () => {
  database = await openTestDatabase();
  const thread = await ensureThread(database.db, conversation);
  const session = await ensureSession(database.db, {
    threadKey: thread.threadKey,
    agentName: 'assistant',
    origin: conversation,
  });
  sessionId = session.id;
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function remember(scope: string, text: string): Promise<void> {
  await saveFact(database.db, {
    scope,
    agentName: 'assistant',
    text,
    sessionId,
    turnId: newId(),
    createdBy: undefined,
  });
}

async function find(scope: string, text: string): Promise<string[]> {
  return (await searchFacts(database.db, { scope, text, rowsMax: 10 })).map((fact) => fact.text);
}

test('a fact is found by any of its words and by the beginning of one', async () => {
  await remember('person:a', 'The deploy window is Tuesday at 14:00.');
  expect(await find('person:a', 'deploy')).toEqual(['The deploy window is Tuesday at 14:00.']);
  expect(await find('person:a', 'dep')).toEqual(['The deploy window is Tuesday at 14:00.']);
  expect(await find('person:a', 'what about tuesday then')).toHaveLength(1);
  expect(await find('person:a', 'holiday')).toEqual([]);
});

test('one scope never sees the facts of another', async () => {
  await remember('person:b', 'My locker code is 4711.');
  expect(await find('person:c', 'locker code')).toEqual([]);
  expect(await find('person:c', '')).toEqual([]);
});

test('saying a fact twice keeps it once, and an empty query gives the newest first', async () => {
  await remember('person:d', 'First.');
  await remember('person:d', 'Second.');
  await remember('person:d', 'First.');
  expect(await find('person:d', '')).toEqual(['Second.', 'First.']);
});

test('words that mean something to the query language are only words', async () => {
  await remember('person:e', "It's O'Brien & Co | !(x) <-> 'quoted'");
  expect(await find('person:e', "O'Brien & | ! ( ) <-> ' \\")).toHaveLength(1);
});

test('a private chat has the memory of its person, a group its own', () => {
  const origin = { channel: 'telegram', account: '1', room: '5', personId: 'p' };
  expect(memoryScope({ ...origin, kind: 'dm' })).toBe('person:p');
  expect(memoryScope({ ...origin, kind: 'group' })).toBe('thread:telegram:1:5:-');
});
