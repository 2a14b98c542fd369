import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { toStorableJson } from '../kit/json.ts';
import { type Conversation, type Origin, originSchema } from '../sessions/origin.ts';
import { type TurnPayload, turnPayloadSchema } from './turn-event.ts';

/** A message that has not been answered to the end, as it stands on its lane. */
export interface OpenMessage {
  readonly turnId: string;
  readonly sessionId: string;
  /** `begun`: an agent works on it, or waits with it, as a turn of its own or as part of another. */
  readonly state: 'queued' | 'begun';
  readonly kind: 'message' | 'task';
  readonly agentName: string;
  readonly agentVersion: string;
  readonly origin: Origin;
  readonly payload: TurnPayload;
}

interface OpenRow {
  id: string;
  session_id: string;
  state: string;
  kind: 'message' | 'task';
  agent_name: string;
  agent_version: string;
  origin: unknown;
  payload: unknown;
}

/**
 * The latest open turn that a message caused, its lane locked: what is read here stays so until the commit. A message
 * that became part of a running turn is open for as long as that turn is.
 */
export async function lockOpenMessage(
  tx: Tx,
  conversation: Conversation,
  messageId: string,
): Promise<OpenMessage | undefined> {
  const found = await selectOpen(tx, conversation, messageId);
  if (found === undefined) return undefined;
  await sql`select lane_lock(array[${found.sessionId}::uuid])`.execute(tx);
  return await selectOpen(tx, conversation, messageId);
}

async function selectOpen(
  tx: Db | Tx,
  conversation: Conversation,
  messageId: string,
): Promise<OpenMessage | undefined> {
  const { channel, account, room } = conversation;
  const isHere = sql`t.origin ->> 'channel' = ${channel} and t.origin ->> 'account' = ${account}
    and t.origin ->> 'room' = ${room} and t.payload ->> 'messageId' = ${messageId}`;
  const columns = sql`t.id, t.session_id, t.seq, t.state, t.kind, t.agent_name, t.agent_version, t.origin, t.payload`;
  const { rows } = await sql<OpenRow>`
    select * from (
      select ${columns} from turn t where ${isHere} and t.state in ('queued', 'running', 'waiting')
      union all
      select ${columns} from turn h join turn t on t.session_id = h.session_id and t.into_seq = h.seq
      where h.session_id in (
          select id from session where starts_with(thread_key, ${`${channel}:${account}:${room}:`}) and state = 'active')
        and h.state in ('running', 'waiting') and t.state = 'absorbed' and ${isHere}
    ) open order by seq desc limit 1
  `.execute(tx);
  const row = rows[0];
  const payload = turnPayloadSchema.safeParse(row?.payload);
  if (row === undefined || !payload.success) return undefined;
  return {
    turnId: row.id,
    sessionId: row.session_id,
    state: row.state === 'queued' ? 'queued' : 'begun',
    kind: row.kind,
    agentName: row.agent_name,
    agentVersion: row.agent_version,
    origin: originSchema.parse(row.origin),
    payload: payload.data,
  };
}

/** Replaces what a queued turn was asked. */
export async function replacePayload(tx: Tx, turnId: string, payload: TurnPayload): Promise<void> {
  await sql`
    update turn set payload = ${toStorableJson(payload)}::jsonb where id = ${turnId} and state = 'queued'
  `.execute(tx);
}

/** Takes a queued turn off its lane; a lane that finds nothing to do becomes idle by itself. */
export async function cancelQueued(tx: Tx, turnId: string): Promise<void> {
  await sql`
    update turn set state = 'cancelled', finished_at = clock_timestamp(), error_code = 'turn.cancelled'
    where id = ${turnId} and state = 'queued'
  `.execute(tx);
}
