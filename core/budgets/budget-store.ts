import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import type { Micros } from '../kit/money.ts';
import { storableJson } from '../kit/storable-json.ts';
import type { BudgetPeriod, BudgetScope, BudgetWarning, Cost } from './budget.ts';

const reserveRowSchema = z.object({
  state: z.enum(['granted', 'refused', 'unlimited', 'used']),
  hold_id: z.string().nullable(),
  period: z.enum(['daily', 'monthly']).nullable(),
  limit_micros: z.bigint().nullable(),
  used_micros: z.bigint().nullable(),
  resets_at: z.date().nullable(),
});

export type ReserveRow = z.infer<typeof reserveRowSchema>;

/** Reserves for several calls of one scope in one go, first come first served. */
export async function reserveHolds(
  db: Db,
  scope: BudgetScope,
  items: readonly {
    readonly id: string;
    readonly key: string;
    readonly amountMicros: Micros;
    readonly validMs: number;
  }[],
): Promise<ReserveRow[]> {
  const json = JSON.stringify(items.map((item) => ({ ...item, amountMicros: item.amountMicros.toString() })));
  const { rows } = await sql`
    select state, hold_id, period, limit_micros, used_micros, resets_at
    from reserve_holds(${scope}, ${json}::jsonb) order by ordinal
  `.execute(db);
  return rows.map((row) => reserveRowSchema.parse(row));
}

const settleRowSchema = z.object({
  state: z.enum(['settled', 'late', 'duplicate', 'unknown']),
  is_warning_due: z.boolean(),
});

export type SettleRow = z.infer<typeof settleRowSchema>;

export async function settleHolds(
  db: Db,
  items: readonly { readonly holdId: string; readonly id: string; readonly cost: Cost }[],
): Promise<SettleRow[]> {
  const json = JSON.stringify(items.map(({ holdId, id, cost }) => ({ holdId, ...toLedgerItem(id, cost) })));
  const { rows } = await sql`
    select state, is_warning_due from settle_holds(${json}::jsonb) order by ordinal
  `.execute(db);
  return rows.map((row) => settleRowSchema.parse(row));
}

export async function releaseHolds(db: Db, ids: readonly string[]): Promise<void> {
  await sql`select release_holds(${[...ids]}::uuid[])`.execute(db);
}

export async function extendHolds(db: Db, ids: readonly string[], validMs: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select extend_holds as id from extend_holds(${[...ids]}::uuid[], ${validMs})
  `.execute(db);
  return rows.map((row) => row.id);
}

export async function expireHolds(db: Db, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`select expire_holds(${rowsMax}) as count`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Ledger rows of calls without a hold; one that is there already is left alone, so a batch may be tried again. */
export async function insertCosts(
  db: Db,
  items: readonly { readonly id: string; readonly key: string; readonly cost: Cost }[],
): Promise<void> {
  const json = JSON.stringify(items.map(({ id, key, cost }) => ({ key, ...toLedgerItem(id, cost) })));
  await sql`
    insert into ledger (id, key, kind, agent_name, person_id, session_id, turn_id, model, input_tokens,
      cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_micros, price)
    select id, key, kind, "agentName", "personId", "sessionId", "turnId", model, input, "cacheRead", "cacheWrite",
      output, reasoning, "costMicros", nullif(price, 'null'::jsonb)
    from jsonb_to_recordset(${json}::jsonb) as item (
      id uuid, key text, kind text, "agentName" text, "personId" uuid, "sessionId" uuid, "turnId" uuid, model text,
      input integer, "cacheRead" integer, "cacheWrite" integer, output integer, reasoning integer,
      "costMicros" bigint, price jsonb)
    on conflict (key) do nothing
  `.execute(db);
}

function toLedgerItem(id: string, cost: Cost): Record<string, unknown> {
  return {
    id,
    kind: cost.usage.source === 'provider' ? 'charge' : 'estimate',
    agentName: cost.agentName,
    personId: cost.personId ?? null,
    sessionId: cost.sessionId ?? null,
    turnId: cost.turnId ?? null,
    model: cost.model,
    input: cost.usage.input,
    cacheRead: cost.usage.cacheRead,
    cacheWrite: cost.usage.cacheWrite,
    output: cost.usage.output,
    reasoning: cost.usage.reasoning,
    costMicros: cost.costMicros.toString(),
    price: cost.price === undefined ? null : storableJson(cost.price),
  };
}

/** Replaces the limits of a scope; periods in course follow at their next reservation. */
export async function replaceLimits(
  tx: Db | Tx,
  scope: BudgetScope,
  limits: readonly { readonly period: BudgetPeriod; readonly limitMicros: Micros }[],
): Promise<void> {
  const json = JSON.stringify(limits.map((item) => ({ period: item.period, limit: item.limitMicros.toString() })));
  await sql`
    with wanted as (
      select item ->> 'period' as period, (item ->> 'limit')::bigint as limit_micros
      from jsonb_array_elements(${json}::jsonb) item
    ), removed as (
      delete from budget_limit l
      where l.scope = ${scope} and not exists (select from wanted w where w.period = l.period)
    )
    insert into budget_limit (scope, period, limit_micros) select ${scope}, period, limit_micros from wanted
    on conflict (scope, period) do update set limit_micros = excluded.limit_micros
      where budget_limit.limit_micros <> excluded.limit_micros
  `.execute(tx);
}

interface WarningRow {
  scope: BudgetScope;
  period: BudgetPeriod;
  limit_micros: bigint;
  spent_micros: bigint;
  ends_at: Date;
}

/** Marks budgets of a scope that passed 80 % as warned and returns them; each is returned once. */
export async function markWarned(tx: Tx, scope: BudgetScope): Promise<BudgetWarning[]> {
  const { rows } = await sql<WarningRow>`
    update budget set warned_at = clock_timestamp()
    where id in (
      select id from budget
      where scope = ${scope} and warned_at is null and ends_at > clock_timestamp() and limit_micros > 0
        and spent_micros * 5 >= limit_micros * 4
      order by id for update)
    returning scope, period, limit_micros, spent_micros, ends_at
  `.execute(tx);
  return rows.map((row) => ({
    scope: row.scope,
    period: row.period,
    limitMicros: row.limit_micros,
    spentMicros: row.spent_micros,
    resetsAt: row.ends_at,
  }));
}

/** A budget of the running day or month. */
export interface BudgetStatus extends BudgetWarning {
  readonly heldMicros: Micros;
  readonly overrunMicros: Micros;
}

export async function selectStatus(db: Db | Tx, scope: BudgetScope | undefined): Promise<BudgetStatus[]> {
  const { rows } = await sql<WarningRow & { held_micros: bigint; overrun_micros: bigint }>`
    select l.scope, l.period, l.limit_micros, coalesce(b.spent_micros, 0) as spent_micros,
           coalesce(b.held_micros, 0) as held_micros, coalesce(b.overrun_micros, 0) as overrun_micros, p.ends_at
    from budget_limit l
      cross join lateral budget_period(l.period, clock_timestamp()) p
      left join budget b on b.scope = l.scope and b.period = l.period and b.starts_at = p.starts_at
    where ${scope ?? null}::text is null or l.scope = ${scope ?? null}
    order by l.scope, l.period
  `.execute(db);
  return rows.map((row) => ({
    scope: row.scope,
    period: row.period,
    limitMicros: row.limit_micros,
    spentMicros: row.spent_micros,
    resetsAt: row.ends_at,
    heldMicros: row.held_micros,
    overrunMicros: row.overrun_micros,
  }));
}

export interface CostRow {
  readonly name: string;
  readonly calls: number;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly costMicros: Micros;
}

export async function sumCosts(
  db: Db,
  options: {
    readonly unit: 'day' | 'week' | 'month';
    readonly by: 'agent' | 'model' | 'person';
    readonly agentName: string | undefined;
  },
): Promise<{ readonly rows: CostRow[]; readonly from: Date }> {
  const from = await sql<{ from_at: Date }>`
    select date_trunc(${options.unit}, clock_timestamp(), 'UTC') as from_at
  `.execute(db);
  const startsAt = from.rows[0]?.from_at ?? new Date(0);
  const name = { agent: sql`agent_name`, model: sql`model`, person: sql`coalesce(person_id::text, '-')` }[options.by];
  const { rows } = await sql<{ name: string; calls: number; input: bigint; output: bigint; cost: bigint }>`
    select ${name} as name, count(*)::integer as calls, sum(input_tokens)::bigint as input,
           sum(output_tokens)::bigint as output, sum(cost_micros)::bigint as cost
    from ledger
    where created_at >= ${startsAt} and (${options.agentName ?? null}::text is null or agent_name = ${options.agentName ?? null})
    group by 1 order by cost desc, name
  `.execute(db);
  return {
    from: startsAt,
    rows: rows.map((row) => ({
      name: row.name,
      calls: row.calls,
      inputTokens: row.input,
      outputTokens: row.output,
      costMicros: row.cost,
    })),
  };
}
