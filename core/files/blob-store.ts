import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';

export interface BlobFacts {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  readonly size: number;
}

export interface NewBlob {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: Uint8Array;
  readonly owner: string | undefined;
  readonly keptDays: number;
}

export async function insertBlob(db: Db | Tx, blob: NewBlob): Promise<void> {
  await sql`
    insert into blob (id, name, mime, bytes, owner, kept_until)
    values (${blob.id}, ${blob.name}, ${blob.mime}, ${Buffer.from(blob.bytes)}, ${blob.owner ?? null},
            clock_timestamp() + make_interval(days => ${blob.keptDays}))
    on conflict (id) do nothing
  `.execute(db);
}

export async function findBlob(db: Db | Tx, id: string): Promise<(BlobFacts & { readonly bytes: Buffer }) | undefined> {
  const { rows } = await sql<BlobFacts & { readonly bytes: Buffer }>`
    select id, name, mime, size, bytes from blob where id = ${id}
  `.execute(db);
  return rows[0];
}

/** Those of `ids` that `owner` stored, without their bytes. */
export async function findOwnBlobs(db: Db | Tx, owner: string, ids: readonly string[]): Promise<BlobFacts[]> {
  const { rows } = await sql<BlobFacts>`
    select id, name, mime, size from blob where owner = ${owner} and id = any (${[...ids]}::uuid[])
  `.execute(db);
  return rows;
}

/** Bytes an owner has stored in the last 24 hours. */
export async function sumRecentBytes(db: Db | Tx, owner: string): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    select coalesce(sum(size), 0)::float8 as bytes from blob
    where owner = ${owner} and created_at > clock_timestamp() - interval '24 hours'
  `.execute(db);
  return rows[0]?.bytes ?? 0;
}

/** Keeps files for at least `days` more. */
export async function keepBlobs(db: Db | Tx, ids: readonly string[], days: number): Promise<void> {
  await sql`
    update blob set kept_until = greatest(kept_until, clock_timestamp() + make_interval(days => ${days}))
    where id = any (${[...ids]}::uuid[])
  `.execute(db);
}

/** Removes files past their end, but none that a message still on its way needs. @returns how many. */
export async function deleteEndedBlobs(db: Db, rowsMax: number): Promise<number> {
  const result = await sql`
    delete from blob where id in (
      select b.id from blob b where b.kept_until < clock_timestamp() and b.id not in (
        select (part ->> 'blobId')::uuid from outbox o, jsonb_array_elements(o.body -> 'parts') part
        where o.state in ('pending', 'sending', 'unknown') and part ->> 'blobId' is not null)
      limit ${rowsMax})
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}
