import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';
import type { CallBudgets, CallKind } from './channel-sender.ts';

/** Refusals in a row make an interval at most this many times as long. */
const slowdownMax = 16;

/**
 * Keeps every worker off a room, a thread or an account for a while, because the platform asked for it, and doubles its
 * interval; that wears off within five minutes.
 */
export async function recordThrottled(db: Db, paceKey: string, afterMs: number): Promise<void> {
  await sql`
    insert into delivery_pace (pace_key, paused_until, slowdown, slowed_at)
    values (${paceKey}, clock_timestamp() + make_interval(secs => ${afterMs / 1000}), 2, clock_timestamp())
    on conflict (pace_key) do update set
      paused_until = greatest(delivery_pace.paused_until, excluded.paused_until),
      slowdown = least(${slowdownMax}, 2 * delivery_slowdown(delivery_pace.slowdown, delivery_pace.slowed_at)),
      slowed_at = excluded.slowed_at
  `.execute(db);
}

/** Stops or resumes all deliveries of an account. */
export async function recordPause(db: Db, accountKey: string, pauseMs: number): Promise<void> {
  await sql`
    insert into delivery_pace (pace_key, paused_until)
    values (${accountKey}, clock_timestamp() + make_interval(secs => ${pauseMs / 1000}))
    on conflict (pace_key) do update set paused_until = excluded.paused_until
  `.execute(db);
}

/** What a live preview has to keep to. */
export interface Pace {
  /** Until then nothing may be shown; 0 when it may. */
  readonly pausedMs: number;
  /** 1, or by how much intervals are longer at present. */
  readonly slowdown: number;
}

/** The pace of rooms, threads or accounts, in the order asked. */
export async function readPaces(db: Db, paceKeys: readonly string[]): Promise<Pace[]> {
  const { rows } = await sql<{ pace_key: string; paused_ms: number | null; slowdown: number }>`
    select pace_key, (extract(epoch from paused_until - clock_timestamp()) * 1000)::float8 as paused_ms,
      delivery_slowdown(slowdown, slowed_at) as slowdown
    from delivery_pace where pace_key = any (${[...paceKeys]}::text[])
  `.execute(db);
  const byKey = new Map(rows.map((row) => [row.pace_key, row]));
  return paceKeys.map((key) => {
    const row = byKey.get(key);
    return { pausedMs: Math.max(0, row?.paused_ms ?? 0), slowdown: row?.slowdown ?? 1 };
  });
}

/**
 * Takes up to `wanted` calls of a kind out of what an account has left beyond `keptShare` of its allowance.
 * @returns how many were granted; all of them where the platform sets no limit.
 */
export async function takeCalls(
  db: Db,
  ask: {
    readonly accountKey: string;
    readonly kind: CallKind;
    readonly budgets: CallBudgets;
    readonly keptShare: number;
  },
  wanted: number,
): Promise<number> {
  const { accountKey, kind } = ask;
  const budget = ask.budgets[kind];
  if (budget === undefined) return wanted;
  const kept = Math.floor(budget.count * ask.keptShare);
  const { rows } = await sql<{ granted: number }>`
    select delivery_budget_grant(${`${accountKey}:${kind}`}, ${budget.count}, ${budget.perMs}, ${wanted}, ${kept}) as granted
  `.execute(db);
  return rows[0]?.granted ?? 0;
}

/** Forgets paces of rooms nobody has written to for a day. */
export async function prunePaces(db: Db): Promise<void> {
  await sql`
    delete from delivery_pace where coalesce(last_at, '-infinity') < clock_timestamp() - interval '1 day'
      and coalesce(paused_until, '-infinity') < clock_timestamp()
      and coalesce(slowed_at, '-infinity') < clock_timestamp() - interval '1 day'
      and coalesce(accepted_at, '-infinity') < clock_timestamp() - interval '1 day'
  `.execute(db);
}
