import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import type { DiskKind, KnownPlace, SandboxEvent, SandboxEventRecord, SandboxPlace } from './sandbox-place.ts';

interface PlaceRow {
  session_id: string;
  host: string;
  workspace: string;
  disk: DiskKind;
}

export async function selectPlace(db: Db | Tx, sessionId: string): Promise<SandboxPlace | undefined> {
  const { rows } = await sql<PlaceRow>`
    select session_id, host, workspace, disk from sandbox_place where session_id = ${sessionId}
  `.execute(db);
  return rows[0] === undefined ? undefined : toPlace(rows[0]);
}

/** @returns the row that stands, which may be an earlier one. */
export async function insertPlace(db: Db, place: SandboxPlace): Promise<SandboxPlace> {
  const { rows } = await sql<PlaceRow>`
    insert into sandbox_place as p (session_id, host, workspace, disk)
    values (${place.sessionId}, ${place.host}, ${place.workspace}, ${place.disk})
    on conflict (session_id) do update set host = p.host
    returning session_id, host, workspace, disk
  `.execute(db);
  return rows[0] === undefined ? place : toPlace(rows[0]);
}

export async function selectPlaces(db: Db): Promise<KnownPlace[]> {
  const { rows } = await sql<
    PlaceRow & { placed_at: Date; ended_at: Date | null; seen_at: Date | null; used_mb: number | null }
  >`
    select p.session_id, p.host, p.workspace, p.disk, p.placed_at, p.seen_at, p.used_mb, s.ended_at
    from sandbox_place p left join session s on s.id::text = p.session_id
    order by p.placed_at
  `.execute(db);
  return rows.map((row) => ({
    ...toPlace(row),
    placedAt: row.placed_at,
    endedAt: row.ended_at ?? undefined,
    seenAt: row.seen_at ?? undefined,
    usedMb: row.used_mb ?? undefined,
  }));
}

export async function deletePlace(db: Db, sessionId: string): Promise<void> {
  await sql`delete from sandbox_place where session_id = ${sessionId}`.execute(db);
}

export async function updateOwner(db: Db, sessionId: string, owner: string): Promise<void> {
  await sql`
    update sandbox_place set owner = ${owner}, seen_at = clock_timestamp() where session_id = ${sessionId}
  `.execute(db);
}

export async function selectOwner(db: Db, sessionId: string): Promise<string | undefined> {
  const { rows } = await sql<{ owner: string | null }>`
    select owner from sandbox_place where session_id = ${sessionId}
  `.execute(db);
  return rows[0]?.owner ?? undefined;
}

export async function touchOwned(db: Db, owner: string): Promise<void> {
  await sql`update sandbox_place set seen_at = clock_timestamp() where owner = ${owner}`.execute(db);
}

export async function updateUse(db: Db, sessionId: string, usedMb: number): Promise<void> {
  await sql`update sandbox_place set used_mb = ${usedMb} where session_id = ${sessionId}`.execute(db);
}

export async function lockName(tx: Tx, name: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`sandbox:${name}`}, 0))`.execute(tx);
}

export async function insertEvent(db: Db, event: SandboxEvent, rowsMax: number, daysMax: number): Promise<void> {
  await sql`
    with added as (
      insert into sandbox_event (session_id, host, kind, what, detail)
      values (${event.sessionId}, ${event.host}, ${event.kind}, ${event.what}, ${event.detail ?? null})
    )
    delete from sandbox_event where at < clock_timestamp() - make_interval(days => ${daysMax}) or id in (
      select id from sandbox_event where session_id = ${event.sessionId} order by id desc offset ${rowsMax - 1})
  `.execute(db);
}

/** Oldest first; the newest `rowsMax`. */
export async function selectEvents(db: Db, sessionId: string, rowsMax: number): Promise<SandboxEventRecord[]> {
  const { rows } = await sql<{
    session_id: string;
    host: string;
    kind: string;
    what: string;
    detail: string | null;
    at: Date;
  }>`
    select session_id, host, kind, what, detail, at from sandbox_event
    where session_id = ${sessionId} order by id desc limit ${rowsMax}
  `.execute(db);
  return rows.reverse().map((row) => ({
    sessionId: row.session_id,
    host: row.host,
    kind: row.kind,
    what: row.what,
    detail: row.detail ?? undefined,
    at: row.at,
  }));
}

function toPlace(row: PlaceRow): SandboxPlace {
  return { sessionId: row.session_id, host: row.host, workspace: row.workspace, disk: row.disk };
}
