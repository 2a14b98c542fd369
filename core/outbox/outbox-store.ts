import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { ChannelCapabilities } from './channel-sender.ts';
import { type Importance, type OutboundBody, outboundBodySchema } from './outbound.ts';
import { recordDeliveries } from './record-store.ts';

/** An outbox row leased for one delivery. */
export interface Delivery {
  readonly id: string;
  readonly key: string;
  readonly threadKey: string;
  readonly conversation: Conversation;
  readonly importance: Importance;
  readonly body: OutboundBody;
  readonly revision: number;
  /** False while more of it is to come. */
  readonly isFinal: boolean;
  /** Platform ids of the message as last delivered; undefined for one that was never sent. */
  readonly platformIds: readonly string[] | undefined;
  /** `hashBody` of what was delivered last. */
  readonly sentHash: string | undefined;
  /** Platform ids of a post or edit that did not get to its end. */
  readonly postedIds: readonly string[];
  /** The revision those show. */
  readonly postedRevision: number | undefined;
  readonly attempts: number;
  /** Since the message was written first, in milliseconds. */
  readonly ageMs: number;
  /** Since it says what it says, in milliseconds. */
  readonly saidMs: number;
  /** How long the platform may have had it without our knowing; undefined when we know. */
  readonly unsureMs: number | undefined;
  readonly sessionId: string | undefined;
  readonly turnId: string | undefined;
}

interface DeliveryRow {
  id: string;
  key: string;
  thread_key: string;
  conversation: Conversation;
  importance: Importance;
  body: unknown;
  revision: number;
  is_final: boolean;
  platform_ids: string[] | null;
  sent_hash: string | null;
  posted_ids: string[];
  posted_revision: number | null;
  attempts: number;
  age_ms: number;
  said_ms: number;
  unsure_ms: number | null;
  session_id: string | null;
  turn_id: string | null;
}

/** How fast an account may write, in each kind of conversation; made by `paceRules`. */
export interface PaceRules {
  readonly kinds: Readonly<
    Record<Conversation['kind'], { readonly sendMs: number; readonly editMs: number; readonly perRoom: boolean }>
  >;
  readonly budgets: NonNullable<ChannelCapabilities['budgets']>;
}

/** One account of a channel, and who works for it. */
export interface AccountLease {
  readonly channel: string;
  readonly account: string;
  /** Worker id. */
  readonly owner: string;
}

/** What a message is paced with: its room, or its thread where the platform counts those apart. */
export function paceKey(conversation: Conversation, capabilities: Pick<ChannelCapabilities, 'pacedPer'>): string {
  const { channel, account, room, thread } = conversation;
  const roomKey = `${channel}:${account}:${room}`;
  return (capabilities.pacedPer ?? 'room') === 'room' ? roomKey : `${roomKey}:${thread ?? '-'}`;
}

/**
 * Leases what is due: of each room or thread at most one message, final words before previews. Pacing lives in the
 * query, so that every worker shares it.
 */
export async function claimDeliveries(
  db: Db,
  lease: AccountLease,
  options: { readonly rowsMax: number; readonly rules: PaceRules },
): Promise<Delivery[]> {
  const { rows } = await sql<DeliveryRow>`
    select id, key, thread_key, conversation, importance, body, revision, is_final, platform_ids, sent_hash, posted_ids,
      posted_revision, attempts, (extract(epoch from clock_timestamp() - created_at) * 1000)::float8 as age_ms,
      (extract(epoch from clock_timestamp() - revised_at) * 1000)::float8 as said_ms,
      (extract(epoch from clock_timestamp() - unsure_since) * 1000)::float8 as unsure_ms, session_id, turn_id
    from outbox_claim(${accountKey(lease)}, ${lease.owner}, ${options.rowsMax}, ${JSON.stringify(options.rules)}::jsonb)
  `.execute(db);
  const deliveries: Delivery[] = [];
  const unreadable: Parameters<typeof recordDeliveries>[2][number][] = [];
  for (const row of rows) {
    const body = outboundBodySchema.safeParse(row.body);
    if (body.success) deliveries.push(toDelivery(row, body.data));
    else {
      const outcome = { state: 'dead', reason: `its body cannot be read: ${body.error.message}` } as const;
      unreadable.push({ id: row.id, revision: row.revision, outcome, paceKey: undefined });
    }
  }
  // Set aside at once: one that is tried again and again would hold up everyone else.
  if (unreadable.length > 0) await recordDeliveries(db, lease.owner, unreadable);
  return deliveries;
}

function toDelivery(row: DeliveryRow, body: OutboundBody): Delivery {
  return {
    id: row.id,
    key: row.key,
    threadKey: row.thread_key,
    conversation: row.conversation,
    importance: row.importance,
    body,
    revision: row.revision,
    isFinal: row.is_final,
    platformIds: row.platform_ids ?? undefined,
    sentHash: row.sent_hash ?? undefined,
    postedIds: row.posted_ids,
    postedRevision: row.posted_revision ?? undefined,
    attempts: row.attempts,
    ageMs: row.age_ms,
    saidMs: row.said_ms,
    unsureMs: row.unsure_ms ?? undefined,
    sessionId: row.session_id ?? undefined,
    turnId: row.turn_id ?? undefined,
  };
}

/**
 * Gives back what an owner leased and does not know of, because the answer to its claim got lost: never begun, so simply
 * due again.
 */
export async function releaseDeliveries(db: Db, lease: AccountLease, inFlight: readonly string[]): Promise<void> {
  await sql`
    update outbox set state = 'pending', owner = null, sending_since = null
    where state = 'sending' and owner = ${lease.owner} and account_key = ${accountKey(lease)}
      and id <> all (${[...inFlight]}::uuid[])
  `.execute(db);
}

/**
 * Milliseconds until something of an account is due, pace and pauses included; undefined when nothing is pending or the
 * account is switched off.
 */
export async function nextDueMs(
  db: Db,
  lease: Omit<AccountLease, 'owner'>,
  rules: PaceRules,
): Promise<number | undefined> {
  const key = accountKey(lease);
  const { rows } = await sql<{ due_ms: number | null }>`
    select (extract(epoch from greatest(min(c.due_at),
        (select p.paused_until from delivery_pace p where p.pace_key = ${key})) - clock_timestamp()) * 1000)::float8 as due_ms
    from outbox_candidates(${key}, ${JSON.stringify(rules)}::jsonb) c
    where not exists (
      select 1 from channel_account a
      where a.channel = ${lease.channel} and a.account = ${lease.account} and not a.is_enabled)
    having count(*) > 0
  `.execute(db);
  const dueMs = rows[0]?.due_ms;
  return dueMs === undefined || dueMs === null ? undefined : Math.max(0, dueMs);
}

function accountKey({ channel, account }: Pick<AccountLease, 'channel' | 'account'>): string {
  return `${channel}:${account}`;
}
