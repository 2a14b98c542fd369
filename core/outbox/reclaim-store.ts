import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { ChannelCapabilities } from './channel-sender.ts';
import type { Importance } from './outbound.ts';

/** A delivery whose sender died: the platform may or may not have the message. */
export interface StrandedDelivery {
  readonly id: string;
  readonly key: string;
  readonly threadKey: string;
  readonly conversation: Conversation;
  readonly importance: Importance;
}

/**
 * Takes back deliveries whose owner has died; nobody is judged just after the database was away. An edit is simply due
 * again, because it says the same twice. So is a first post where the platform recognises a repetition by its nonce, or
 * can be asked for it; otherwise it becomes `unknown`.
 * @returns those that became `unknown`.
 */
export async function reclaimDeliveries(
  db: Db | Tx,
  options: {
    readonly channel: string;
    readonly account: string;
    readonly capabilities: Pick<ChannelCapabilities, 'idempotentSend' | 'nonceMs'>;
  },
): Promise<StrandedDelivery[]> {
  const { idempotentSend, nonceMs } = options.capabilities;
  const nonceSeconds = nonceMs === undefined ? null : nonceMs / 1000;
  const { rows } = await sql<{
    id: string;
    key: string;
    thread_key: string;
    conversation: Conversation;
    importance: Importance;
    state: string;
  }>`
    update outbox o set owner = null, sending_since = null, last_error = 'the sender died while sending',
      unsure_since = case when o.platform_ids is null then coalesce(o.unsure_since, o.sending_since) end,
      state = case
        when o.platform_ids is not null or ${idempotentSend} = 'metadata' then 'pending'
        when ${idempotentSend} = 'nonce' and (${nonceSeconds}::float8 is null
          or coalesce(o.unsure_since, o.sending_since) > clock_timestamp() - make_interval(secs => ${nonceSeconds}::float8))
          then 'pending'
        else 'unknown' end
    where o.state = 'sending' and o.account_key = ${`${options.channel}:${options.account}`}
      and not exists (
        select 1 from worker w where w.id = o.owner and w.beat_at > clock_timestamp() - interval '5 seconds')
      and pg_postmaster_start_time() < clock_timestamp() - interval '5 seconds'
    returning id, key, thread_key, conversation, importance, state
  `.execute(db);
  return rows
    .filter((row) => row.state === 'unknown')
    .map((row) => ({
      id: row.id,
      key: row.key,
      threadKey: row.thread_key,
      conversation: row.conversation,
      importance: row.importance,
    }));
}
