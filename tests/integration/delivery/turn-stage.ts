import { newId } from '#core/kit/ids.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { TestDatabase } from '#tests/support/database.ts';

export const conversation: Conversation = { channel: 'telegram', account: '7', room: 'a', kind: 'group' };

/** A running turn for messages to belong to; only foreign keys and the sweeps look at it. */
export async function insertTurn(
  database: TestDatabase,
): Promise<{ readonly sessionId: string; readonly turnId: string }> {
  const sessionId = newId();
  const turnId = newId();
  await database.query(
    `insert into thread (thread_key, conversation) values ('telegram:7:a:-', $1) on conflict do nothing`,
    [conversation],
  );
  await database.query(
    `insert into session (id, thread_key, agent_name, origin) values ($1, 'telegram:7:a:-', $2, '{}')`,
    [sessionId, sessionId],
  );
  await database.query('insert into lane (session_id) values ($1)', [sessionId]);
  await database.query(
    `insert into turn (id, session_id, seq, event_key, mode, kind, agent_name, agent_version, origin, payload)
     values ($1, $2, 1, $3, 'steer', 'message', 'assistant', 'v1', '{}', '{}')`,
    [turnId, sessionId, turnId],
  );
  return { sessionId, turnId };
}
