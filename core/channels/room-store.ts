import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import type { RoomNote, RoomPlace, RoomState } from './room.ts';

interface RoomRow {
  channel: string;
  account: string;
  room: string;
  state: RoomState;
  reason: string;
  migrated_to: string | null;
  muted_until: Date | null;
}

/**
 * Notes how an account stands with a room. What the platform said of a room is kept over a mere failure to send to it,
 * and a room that moved stays so.
 * @returns whether that is news.
 */
export async function upsertRoomState(
  tx: Db | Tx,
  place: RoomPlace,
  state: Exclude<RoomState, 'migrated'>,
  reason: string,
): Promise<boolean> {
  const { rows } = await sql<{ is_news: boolean }>`
    with before as (
      select state from channel_room
      where channel = ${place.channel} and account = ${place.account} and room = ${place.room}
    ), written as (
      insert into channel_room (channel, account, room, state, reason)
      values (${place.channel}, ${place.account}, ${place.room}, ${state}, ${toWellFormed(reason).slice(0, 300)})
      on conflict (channel, account, room) do update set
        state = excluded.state, reason = excluded.reason, updated_at = clock_timestamp()
      where channel_room.state <> excluded.state and channel_room.state <> 'migrated'
        and (excluded.state <> 'unreachable' or channel_room.state = 'active')
      returning state
    )
    select coalesce((select state from before), 'active') <> state as is_news from written
  `.execute(tx);
  return rows[0]?.is_news ?? false;
}

export async function selectRoom(db: Db | Tx, place: RoomPlace): Promise<RoomNote | undefined> {
  const { rows } = await sql<RoomRow>`
    select channel, account, room, state, reason, migrated_to, muted_until from channel_room
    where channel = ${place.channel} and account = ${place.account} and room = ${place.room}
  `.execute(db);
  return rows[0] === undefined ? undefined : toRoom(rows[0]);
}

/** Rooms that are not simply active, or all of them, by name. */
export async function selectRooms(db: Db | Tx, rowsMax: number): Promise<RoomNote[]> {
  const { rows } = await sql<RoomRow>`
    select channel, account, room, state, reason, migrated_to, muted_until from channel_room
    order by channel, account, room limit ${rowsMax}
  `.execute(db);
  return rows.map(toRoom);
}

/** Takes nothing in from a room for a while; zero takes the mute back. */
export async function setMuted(tx: Db | Tx, place: RoomPlace, forMs: number): Promise<void> {
  await sql`
    insert into channel_room (channel, account, room, muted_until)
    values (${place.channel}, ${place.account}, ${place.room},
            clock_timestamp() + make_interval(secs => ${forMs / 1000}))
    on conflict (channel, account, room) do update set muted_until = excluded.muted_until
  `.execute(tx);
}

/** Gives up what is still to be said in a room. @returns how many messages. */
export async function dropPending(tx: Db | Tx, place: RoomPlace, reason: string): Promise<number> {
  const result = await sql`
    update outbox set state = 'dead', last_error = ${toWellFormed(reason).slice(0, 300)}
    where state = 'pending' and room_key = ${`${place.channel}:${place.account}:${place.room}`}
  `.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}

/** Gives up what was written meanwhile for rooms the platform has closed to us. @returns how many messages. */
export async function dropForClosedRooms(db: Db): Promise<number> {
  const result = await sql`
    update outbox o set state = 'dead', last_error = 'the room is ' || r.state || ': ' || r.reason
    from channel_room r
    where r.state in ('left', 'blocked', 'archived') and o.state = 'pending'
      and o.room_key = r.channel || ':' || r.account || ':' || r.room
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}

function toRoom(row: RoomRow): RoomNote {
  return {
    channel: row.channel,
    account: row.account,
    room: row.room,
    state: row.state,
    reason: row.reason,
    migratedTo: row.migrated_to ?? undefined,
    mutedUntil: row.muted_until ?? undefined,
  };
}
