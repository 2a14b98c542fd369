import { newId } from '#core/kit/ids.ts';
import type { NewTurn } from '#core/lanes/lane.ts';
import type { Origin } from '#core/sessions/origin.ts';
import type { TestDatabase } from './database.ts';

/** An origin in the console, for turns whose way back does not matter. */
const testOrigin: Origin = { channel: 'console', account: 'test', room: 'room', kind: 'dm' };

/** Adds sessions with a thread each. @returns their ids, in ascending order. */
export async function addSessions(database: TestDatabase, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, newId).sort();
  await database.query(
    `insert into thread (thread_key, conversation) select 'test:' || id, '{}' from unnest($1::text[]) id`,
    [ids],
  );
  await database.query(
    `insert into session (id, thread_key, agent_name, origin)
     select id::uuid, 'test:' || id, 'assistant', $2::jsonb from unnest($1::text[]) id`,
    [ids, JSON.stringify(testOrigin)],
  );
  return ids;
}

/** Adds a worker that beats now. */
export async function addWorker(database: TestDatabase): Promise<string> {
  const id = newId();
  await database.query(`insert into worker (id, host) values ($1, 'test')`, [id]);
  return id;
}

/** A followup message with the given changes. */
export function newTurn(sessionId: string, changes: Partial<NewTurn> = {}): NewTurn {
  const turnId = newId();
  return {
    turnId,
    sessionId,
    eventKey: `test:${turnId}`,
    mode: 'followup',
    kind: 'message',
    agentName: 'assistant',
    agentVersion: '1',
    origin: testOrigin,
    payload: { text: 'hello', author: 'someone' },
    ...changes,
  };
}

/** An outbox item under a key of its own. */
export function outboxItem(key: string, text: string): Record<string, unknown> {
  return {
    id: newId(),
    key,
    sessionId: null,
    turnId: null,
    conversation: { channel: 'console', account: 'test', room: 'room', kind: 'dm' },
    threadKey: `console:test:room:${key.split('/')[0] ?? '-'}`,
    importance: 'normal',
    body: { parts: [{ type: 'markdown', markdown: text }] },
    isFinal: true,
    expiresAt: null,
  };
}
