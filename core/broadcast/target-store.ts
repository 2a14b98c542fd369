import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { type Conversation, conversationSchema } from '../sessions/origin.ts';

/** A person somebody may mean. */
export interface FoundPerson {
  readonly id: string;
  readonly displayName: string;
}

/** The people with this id or name, or with an account of this name; removed ones are not found. */
export async function selectPeopleNamed(db: Db | Tx, who: string): Promise<FoundPerson[]> {
  const { rows } = await sql<{ id: string; display_name: string }>`
    select p.id, p.display_name from person p
    where p.disabled_at is null and (
      p.id::text = lower(${who}) or lower(p.display_name) = lower(${who})
      or exists (select from identity i where i.person_id = p.id and lower(i.display_name) = lower(${who})))
    order by p.created_at limit 5
  `.execute(db);
  return rows.map((row) => ({ id: row.id, displayName: row.display_name }));
}

/** The account of a person on one of ours, the last seen first. */
export async function selectExternalId(
  db: Db | Tx,
  personId: string,
  place: Pick<Conversation, 'channel' | 'account'>,
): Promise<string | undefined> {
  const { rows } = await sql<{ external_id: string }>`
    select external_id from identity
    where person_id = ${personId} and channel = ${place.channel} and account = ${place.account}
    order by last_seen_at desc nulls last limit 1
  `.execute(db);
  return rows[0]?.external_id;
}

const placeSchema = z.object({ conversation: conversationSchema });

/** A place of a room that was talked in, the last used first; with a thread only that one. */
export async function selectKnownRoom(
  db: Db | Tx,
  place: { readonly channel: string; readonly room: string },
): Promise<Conversation | undefined> {
  const { rows } = await sql`
    select conversation from thread
    where conversation ->> 'room' = ${place.room} and conversation ->> 'channel' = ${place.channel}
    order by updated_at desc limit 1
  `.execute(db);
  return rows[0] === undefined ? undefined : placeSchema.parse(rows[0]).conversation;
}

/** Our accounts on a platform that are in use. */
export async function selectAccounts(db: Db | Tx, channel: string): Promise<string[]> {
  const { rows } = await sql<{ account: string }>`
    select account from channel_account where channel = ${channel} and is_enabled order by account limit 10
  `.execute(db);
  return rows.map((row) => row.account);
}

/** Why a room cannot be written to now; undefined when nothing is known against it. */
export async function selectRoomHindrance(
  db: Db | Tx,
  place: Pick<Conversation, 'channel' | 'account' | 'room'>,
): Promise<string | undefined> {
  const { rows } = await sql<{ state: string }>`
    select state from channel_room
    where channel = ${place.channel} and account = ${place.account} and room = ${place.room} and state <> 'active'
  `.execute(db);
  return rows[0]?.state;
}

/** The main stream of every room of several people that the bot is in and was spoken to in. */
export async function selectOpenRooms(db: Db | Tx, rowsMax: number): Promise<Conversation[]> {
  const { rows } = await sql`
    select distinct on (t.conversation ->> 'channel', t.conversation ->> 'account', t.conversation ->> 'room')
      t.conversation - 'thread' as conversation
    from thread t
    where t.conversation ->> 'kind' in ('group', 'channel')
      and not exists (
        select from channel_room r
        where r.channel = t.conversation ->> 'channel' and r.account = t.conversation ->> 'account'
          and r.room = t.conversation ->> 'room' and r.state <> 'active')
    order by t.conversation ->> 'channel', t.conversation ->> 'account', t.conversation ->> 'room', t.updated_at desc
    limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => placeSchema.parse(row).conversation);
}
