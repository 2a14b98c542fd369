import { newId } from '#core/kit/ids.ts';
import type { PersonRole } from '#core/people/person.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import type { TestDatabase } from './database.ts';

/** A person, and where they can be written to in private. */
export async function seedPerson(
  database: TestDatabase,
  person: {
    readonly name: string;
    readonly role: PersonRole;
    readonly dm?: Conversation;
    readonly externalId?: string;
  },
): Promise<string> {
  const id = newId();
  await database.query('insert into person (id, display_name, role) values ($1, $2, $3)', [
    id,
    person.name,
    person.role,
  ]);
  const { dm } = person;
  if (dm !== undefined) {
    await database.query(
      `insert into identity (id, person_id, channel, account, external_id, display_name, dm_conversation, last_seen_at)
       values ($1, $2, $3, $4, $5, $6, $7, now())`,
      [newId(), id, dm.channel, dm.account, person.externalId ?? dm.room, person.name, JSON.stringify(dm)],
    );
  }
  return id;
}

/** A session of a conversation. */
export async function seedSession(database: TestDatabase, chat: Conversation, agentName = newId()): Promise<string> {
  const id = newId();
  await database.query('insert into thread (thread_key, conversation) values ($1, $2) on conflict do nothing', [
    threadKey(chat),
    JSON.stringify(chat),
  ]);
  await database.query('insert into session (id, thread_key, agent_name, origin) values ($1, $2, $3, $4)', [
    id,
    threadKey(chat),
    agentName,
    JSON.stringify(chat),
  ]);
  return id;
}

/** A turn that has asked something and waits on its lane, as its worker would have left it. */
export async function seedTurn(
  database: TestDatabase,
  turn: {
    readonly sessionId: string;
    readonly turnId: string;
    readonly waitingFor?: 'approval' | 'person';
    readonly origin?: Conversation;
  },
): Promise<void> {
  const { sessionId, turnId, waitingFor } = turn;
  await database.query('insert into lane (session_id) values ($1) on conflict do nothing', [sessionId]);
  const [lane] = await database.query<{ next_seq: number }>('select next_seq from lane where session_id = $1', [
    sessionId,
  ]);
  const seq = lane?.next_seq ?? 1;
  const added = await database.query(
    `insert into turn (id, session_id, seq, event_key, mode, kind, state, waiting_for, agent_name, agent_version, origin, payload)
     values ($1, $2, $3, $4, 'steer', 'message', $5, $6, 'coder', 'v1', $7, '{"text":"do it","author":"somebody"}')
     on conflict (id) do nothing returning id`,
    [
      turnId,
      sessionId,
      seq,
      `test:${turnId}`,
      waitingFor === undefined ? 'queued' : 'waiting',
      waitingFor ?? null,
      JSON.stringify(turn.origin ?? {}),
    ],
  );
  if (added.length === 0) return;
  await database.query(
    waitingFor === undefined
      ? 'update lane set next_seq = next_seq + 1 where session_id = $1'
      : `update lane set next_seq = next_seq + 1, state = 'parked', head_seq = ${seq} where session_id = $1`,
    [sessionId],
  );
}
