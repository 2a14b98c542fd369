import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import type { Db } from '#core/kit/database.ts';

/** How far `in.jsonl` was read. */
export interface FileCursor {
  /** Raised when the file was replaced, cut off or rewritten: offsets then mean something else. */
  readonly generation: number;
  readonly inode: string;
  /** Everything before it is in the inbox. */
  readonly offset: number;
  /** How many bytes of the beginning `headDigest` is over. */
  readonly headBytes: number;
  readonly headDigest: string;
}

export async function readCursor(db: Db, account: string): Promise<FileCursor | undefined> {
  const { rows } = await sql<{
    generation: number;
    inode: string;
    byte_offset: bigint;
    head_bytes: number;
    head_digest: string;
  }>`select generation, inode, byte_offset, head_bytes, head_digest from file_cursor where account = ${account}`.execute(
    db,
  );
  const row = rows[0];
  return row === undefined
    ? undefined
    : {
        generation: row.generation,
        inode: row.inode,
        offset: Number(row.byte_offset),
        headBytes: row.head_bytes,
        headDigest: row.head_digest,
      };
}

export async function writeCursor(db: Db, account: string, cursor: FileCursor): Promise<void> {
  await sql`
    insert into file_cursor (account, generation, inode, byte_offset, head_bytes, head_digest)
    values (${account}, ${cursor.generation}, ${cursor.inode}, ${cursor.offset}, ${cursor.headBytes}, ${cursor.headDigest})
    on conflict (account) do update set generation = excluded.generation, inode = excluded.inode,
      byte_offset = excluded.byte_offset, head_bytes = excluded.head_bytes, head_digest = excluded.head_digest,
      updated_at = clock_timestamp()
  `.execute(db);
}

/** First key of the locks on files we append to; 77 are workers, 78 accounts. */
const lockClass = 79;

/** Runs `work` while no other process of this installation appends to the same file. */
export async function whileHoldingFile<Result>(db: Db, file: string, work: () => Promise<Result>): Promise<Result> {
  const key = createHash('sha256').update(file).digest().readInt32BE(0);
  return await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(${lockClass}::int, ${key}::int)`.execute(tx);
    return await work();
  });
}
