import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { type Conversation, conversationSchema } from '../sessions/origin.ts';

/** Seeing somebody again this soon changes nothing worth a write. */
const seenAgainMs = 5000;

/** Remembers where an identity was seen; `dm` is absent for what was said in a room of several people. */
export async function markSeen(db: Db | Tx, identityId: string, dm: Conversation | undefined): Promise<void> {
  const conversation = dm === undefined ? null : JSON.stringify(dm);
  await sql`
    update identity set last_seen_at = clock_timestamp(),
      dm_conversation = coalesce(${conversation}::jsonb, dm_conversation)
    where id = ${identityId} and (
      last_seen_at is null or last_seen_at < clock_timestamp() - make_interval(secs => ${seenAgainMs / 1000})
      or (${conversation}::jsonb is not null and dm_conversation is distinct from ${conversation}::jsonb))
  `.execute(db);
}

const reachSchema = z.object({ identity_id: z.string(), external_id: z.string(), dm_conversation: conversationSchema });

export interface ReachRow {
  readonly identityId: string;
  readonly externalId: string;
  readonly conversation: Conversation;
}

/** The private conversations of a person that work now, the last used one first. */
export async function selectReach(db: Db | Tx, personId: string): Promise<ReachRow[]> {
  const { rows } = await sql`
    select i.id as identity_id, i.external_id, i.dm_conversation
    from identity i join person p on p.id = i.person_id and p.disabled_at is null
    where i.person_id = ${personId} and i.dm_conversation is not null
      and not exists (
        select from channel_account a
        where a.channel = i.channel and a.account = i.account and (not a.is_enabled or a.state = 'halted'))
      and not exists (
        select from channel_room r
        where r.channel = i.channel and r.account = i.account and r.room = i.dm_conversation ->> 'room'
          and r.state <> 'active')
    order by i.last_seen_at desc nulls last, i.id
  `.execute(db);
  return rows.map((raw) => {
    const row = reachSchema.parse(raw);
    return { identityId: row.identity_id, externalId: row.external_id, conversation: row.dm_conversation };
  });
}

/** The people with one of these roles who have not been removed, the longest known first. */
export async function selectPeopleOf(db: Db | Tx, roles: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select id from person where role = any (${[...roles]}) and disabled_at is null order by created_at, id
  `.execute(db);
  return rows.map((row) => row.id);
}
