import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import type { RunSql } from '../kit/steady-connection.ts';

/** First key of the advisory lock a living worker holds; its second key is the worker's `lock_key`. */
const workerLockClass = 77;
const sweepLockClass = 78;

const lockKeyRow = z.object({ lock_key: z.int() });

/**
 * Registers a worker on the connection that stands for its life: the session's advisory lock goes when the process
 * does, which tells a killed worker from a slow one.
 */
export async function enlistWorker(run: RunSql, id: string, host: string): Promise<void> {
  // Beats are worthless after a crash of the server, so they need not wait for its disk.
  await run('set synchronous_commit = off');
  const [row] = await run(
    `insert into worker (id, host) values ($1, $2)
     on conflict (id) do update set beat_at = clock_timestamp() returning lock_key`,
    [id, host],
  );
  await run('select pg_try_advisory_lock($1, $2)', [workerLockClass, lockKeyRow.parse(row).lock_key]);
}

/** Says that the worker lives. @returns false when its row is gone and it has to enlist again. */
export async function beatWorker(run: RunSql, id: string): Promise<boolean> {
  const rows = await run('update worker set beat_at = clock_timestamp() where id = $1 returning 1', [id]);
  return rows.length === 1;
}

/** Forgets a worker that has handed back its lanes. */
export async function dischargeWorker(run: RunSql, id: string): Promise<void> {
  await run('delete from worker w where id = $1 and not exists (select 1 from lane l where l.owner = w.id)', [id]);
}

/** A sweep takes a few milliseconds; one that says nothing for this long belongs to a process that stands still. */
const sweepIdleMs = 2000;

/**
 * Whether this transaction alone may sweep now; held until it ends. A process that freezes in the middle of its sweep
 * (stopped, paused with its machine) loses the transaction: it would keep everyone else from taking its lanes.
 */
export async function tryBecomeSweeper(tx: Tx): Promise<boolean> {
  await sql`set local idle_in_transaction_session_timeout = ${sql.lit(sweepIdleMs)}`.execute(tx);
  const { rows } = await sql<{ is_ours: boolean }>`
    select pg_try_advisory_xact_lock(${sweepLockClass}, 0) as is_ours
  `.execute(tx);
  return rows[0]?.is_ours === true;
}

/**
 * Workers that own lanes and are gone: silent for longer than `ttlMs` (hung, cut off), or silent for longer than
 * `beatGraceMs` and without their lock (killed). None while the server is younger than `serverGraceMs`, because a
 * restart drops every lock.
 */
export async function findDeadWorkers(
  tx: Tx,
  limits: { readonly ttlMs: number; readonly beatGraceMs: number; readonly serverGraceMs: number },
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select w.id from worker w
    where w.beat_at < clock_timestamp() - make_interval(secs => ${limits.beatGraceMs / 1000})
      and exists (select 1 from lane l where l.owner = w.id and l.state = 'running')
      and pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => ${limits.serverGraceMs / 1000})
      and (
        w.beat_at < clock_timestamp() - make_interval(secs => ${limits.ttlMs / 1000})
        or not exists (
          select 1 from pg_locks k where k.locktype = 'advisory' and k.granted and k.objsubid = 2
            and k.classid = ${sql.lit(workerLockClass)} and k.objid = w.lock_key::oid
            and k.database = (select oid from pg_database where datname = current_database()))
      )
  `.execute(tx);
  return rows.map((row) => row.id);
}

/** Removes workers that have been silent for `ageMs` and own nothing. */
export async function forgetWorkers(db: Db | Tx, ageMs: number): Promise<void> {
  await sql`
    delete from worker w where w.beat_at < clock_timestamp() - make_interval(secs => ${ageMs / 1000})
      and not exists (select 1 from lane l where l.owner = w.id)
  `.execute(db);
}
