import { spawn } from 'node:child_process';
import path from 'node:path';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { agentScope, type Cost, type Hold } from '#core/budgets/budget.ts';
import { costReport } from '#core/budgets/cost-report.ts';
import { expireHolds } from '#core/budgets/expire-holds.ts';
import { type Ledger, openLedger } from '#core/budgets/open-ledger.ts';
import { setBudgetLimits } from '#core/budgets/set-budget-limits.ts';
import { takeWarnings } from '#core/budgets/take-warnings.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { isAppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import { awayFromMidnight } from '#tests/support/away-from-midnight.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

let database: TestDatabase;
let ledger: Ledger;
const never = new AbortController().signal;

beforeAll(async () => {
  database = await openTestDatabase(10);
  ledger = openLedger({ db: database.db });
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => await awayFromMidnight());

let agents = 0;
async function agentWith(limits: { daily?: bigint; monthly?: bigint }): Promise<string> {
  const agentName = `agent-${agents++}`;
  await setBudgetLimits(database.db, agentScope(agentName), {
    dailyMicros: limits.daily,
    monthlyMicros: limits.monthly,
  });
  return agentName;
}

const cost = (agentName: string, costMicros: bigint, source: 'provider' | 'estimated' = 'provider'): Cost => ({
  agentName,
  model: 'test:model',
  usage: { input: 10, cacheRead: 2, cacheWrite: 0, output: 5, reasoning: 1, source },
  costMicros,
  price: { input: 1 },
});

async function reserve(agentName: string, amountMicros: bigint, options: { key?: string; validMs?: number } = {}) {
  return await ledger.reserveHold({
    agentName,
    key: options.key ?? newId(),
    amountMicros,
    // Beyond the end of the slowest run: a hold expires only where a test says so.
    validMs: options.validMs ?? 86_400_000,
  });
}

async function mustReserve(...args: Parameters<typeof reserve>): Promise<Hold> {
  const hold = await reserve(...args);
  if (hold === undefined) throw new Error('the agent has no limit');
  return hold;
}

interface Row {
  period: string;
  limit_micros: bigint;
  held_micros: bigint;
  spent_micros: bigint;
  overrun_micros: bigint;
}

async function budgets(agentName: string): Promise<Row[]> {
  return await database.query<Row>(
    'select period, limit_micros, held_micros, spent_micros, overrun_micros from budget where scope = $1 order by period',
    [agentScope(agentName)],
  );
}

test('an agent without a limit needs no hold', async () => {
  expect(await reserve('nobody', 1_000_000n)).toBeUndefined();
});

test('a hold counts in every period until it is settled to the real cost', async () => {
  const agentName = await agentWith({ daily: 1000n, monthly: 5000n });
  const hold = await mustReserve(agentName, 400n);
  expect((await budgets(agentName)).map((row) => row.held_micros)).toEqual([400n, 400n]);
  expect(await ledger.settleHold(hold, cost(agentName, 150n))).toEqual({ state: 'settled', isWarningDue: false });
  expect(await budgets(agentName)).toEqual([
    { period: 'daily', limit_micros: 1000n, held_micros: 0n, spent_micros: 150n, overrun_micros: 0n },
    { period: 'monthly', limit_micros: 5000n, held_micros: 0n, spent_micros: 150n, overrun_micros: 0n },
  ]);
});

test('a refusal names the tightest budget, what is used of it, when it starts anew and who can raise it', async () => {
  const agentName = await agentWith({ daily: 5_000_000n, monthly: 6_000_000n });
  await mustReserve(agentName, 4_970_000n);
  const err = await reserve(agentName, 120_000n).catch((thrown: unknown) => thrown);
  if (!isAppError(err, 'budget.exhausted')) throw new Error('it was not refused');
  const tomorrow = new Date(Math.ceil((Date.now() + 1) / 86_400_000) * 86_400_000).toISOString().slice(0, 10);
  expect(err.text).toBe(
    `The daily budget of agent ${agentName} does not cover this call: $4.97 of $5.00 is spent or reserved, and the ` +
      `call may cost up to $0.12. It starts anew at ${tomorrow} 00:00 UTC. An owner can raise budget.daily_usd in the ` +
      `profile of agent ${agentName}.`,
  );
  // What fits is still granted: a refusal blocks one call, not the agent.
  await mustReserve(agentName, 30_000n);
});

test('a reservation repeated after a lost answer finds its hold; another call of the same name gets its own', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const item = { id: newId(), key: newId(), amountMicros: 300, validMs: 86_400_000 };
  const repeat = async () =>
    await database.query<{ state: string; hold_id: string }>('select state, hold_id from reserve_holds($1, $2)', [
      agentScope(agentName),
      JSON.stringify([item]),
    ]);
  expect(await repeat()).toEqual([{ state: 'granted', hold_id: item.id }]);
  expect(await repeat()).toEqual([{ state: 'granted', hold_id: item.id }]);
  const first = await mustReserve(agentName, 100n, { key: 'turn:1' });
  await ledger.releaseHold(first);
  const second = await mustReserve(agentName, 100n, { key: 'turn:1' });
  expect(second.id).not.toBe(first.id);
  expect((await budgets(agentName))[0]?.held_micros).toBe(400n);
});

interface ReserveRow {
  state: string;
}

async function reserveTogether(db: TestDatabase['db'], agentName: string, amounts: readonly number[]) {
  const items = amounts.map((amountMicros) => ({ id: newId(), key: newId(), amountMicros, validMs: 86_400_000 }));
  const { rows } = await sql<ReserveRow>`
    select state from reserve_holds(${agentScope(agentName)}, ${JSON.stringify(items)}::jsonb) order by ordinal
  `.execute(db);
  return rows.map((row) => row.state);
}

/** Resolves once some connection of this database waits for a row that another transaction has. */
async function someoneWaits(): Promise<void> {
  await eventually(async () => {
    const waiting = await database.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    expect(waiting.length).toBeGreaterThan(0);
  });
}

test('calls that go together are served in order, each from what those before it left', async () => {
  const agentName = await agentWith({ daily: 1000n });
  expect(await reserveTogether(database.db, agentName, [600, 300, 200, 100, 1])).toEqual([
    'granted',
    'granted',
    'refused',
    'granted',
    'refused',
  ]);
});

test('a reservation waits for one that is not committed yet and then counts it', async () => {
  const agentName = await agentWith({ daily: 1000n });
  await reserveTogether(database.db, agentName, [1]);
  let second: Promise<string[]> | undefined;
  await database.db.transaction().execute(async (tx) => {
    expect(await reserveTogether(tx, agentName, [600])).toEqual(['granted']);
    second = reserveTogether(database.db, agentName, [600]);
    await someoneWaits();
  });
  expect(await second).toEqual(['refused']);
});

test('a settlement takes its hold before its budgets, as everyone does', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 100n);
  let settling: Promise<unknown> | undefined;
  await database.db.transaction().execute(async (tx) => {
    await sql`select from budget where scope = ${agentScope(agentName)} for update`.execute(tx);
    settling = ledger.settleHold(hold, cost(agentName, 1n));
    await someoneWaits();
    const free = await database.query('select from hold where id = $1 for update skip locked', [hold.id]);
    expect(free).toEqual([]);
  });
  expect(await settling).toMatchObject({ state: 'settled' });
});

test('settling twice books once, also when both settle at the same time', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 500n);
  const other = openLedger({ db: database.db });
  const results = await Promise.all([
    ledger.settleHold(hold, cost(agentName, 300n)),
    ledger.settleHold(hold, cost(agentName, 300n)),
    other.settleHold(hold, cost(agentName, 300n)),
  ]);
  expect(results.map((result) => result.state).sort()).toEqual(['duplicate', 'duplicate', 'settled']);
  expect((await budgets(agentName))[0]).toMatchObject({ held_micros: 0n, spent_micros: 300n });
  expect(await database.query('select from ledger where agent_name = $1', [agentName])).toHaveLength(1);
});

test('a released hold gives its money back, and releasing it again changes nothing', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 900n);
  await Promise.all([ledger.releaseHold(hold), ledger.releaseHold(hold)]);
  await ledger.releaseHold(hold);
  expect((await budgets(agentName))[0]?.held_micros).toBe(0n);
  await mustReserve(agentName, 1000n);
});

test('an expired hold gives its money back, and what it really cost is still booked, once', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 900n, { validMs: 0 });
  expect(await expireHolds({ db: database.db }, never)).toBe(1);
  expect(await ledger.extendHold(hold, 1000)).toBe(false);
  expect((await budgets(agentName))[0]?.held_micros).toBe(0n);
  expect((await ledger.settleHold(hold, cost(agentName, 700n))).state).toBe('late');
  expect((await ledger.settleHold(hold, cost(agentName, 700n))).state).toBe('duplicate');
  expect((await budgets(agentName))[0]).toMatchObject({ held_micros: 0n, spent_micros: 700n });
});

test('an extended hold does not expire', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 900n, { validMs: 0 });
  expect(await ledger.extendHold(hold, 86_400_000)).toBe(true);
  expect(await expireHolds({ db: database.db }, never)).toBe(0);
});

test('a real cost above the hold is booked in full, shows as overrun and blocks until the period ends', async () => {
  const agentName = await agentWith({ daily: 1000n });
  const hold = await mustReserve(agentName, 900n);
  await ledger.settleHold(hold, cost(agentName, 1300n));
  expect((await budgets(agentName))[0]).toMatchObject({ spent_micros: 1300n, overrun_micros: 300n });
  await expect(reserve(agentName, 1n)).rejects.toMatchObject({ code: 'budget.exhausted' });
  // What costs nothing, such as a local model, still runs.
  await mustReserve(agentName, 0n);
});

test('a raised limit opens at once, a lowered one blocks at once, a removed one no longer holds', async () => {
  const agentName = await agentWith({ daily: 1000n });
  await mustReserve(agentName, 1000n);
  const scope = agentScope(agentName);
  await setBudgetLimits(database.db, scope, { dailyMicros: 1500n });
  await mustReserve(agentName, 500n);
  await setBudgetLimits(database.db, scope, { dailyMicros: 100n });
  await expect(reserve(agentName, 1n)).rejects.toMatchObject({ code: 'budget.exhausted' });
  expect((await budgets(agentName))[0]).toMatchObject({ limit_micros: 100n, overrun_micros: 1400n });
  await setBudgetLimits(database.db, scope, {});
  expect(await reserve(agentName, 1n)).toBeUndefined();
});

test('a budget set in the middle of the day begins with what the day has cost', async () => {
  const agentName = await agentWith({});
  await ledger.recordCost(newId(), cost(agentName, 800n));
  await setBudgetLimits(database.db, agentScope(agentName), { dailyMicros: 1000n });
  await expect(reserve(agentName, 300n)).rejects.toMatchObject({ code: 'budget.exhausted' });
  await mustReserve(agentName, 200n);
});

test('a new day has a budget of its own while the month goes on', async () => {
  const agentName = await agentWith({ daily: 1000n, monthly: 1500n });
  const reserveAt = async (at: string, amount: number) =>
    await database.query<{ state: string; period: string | null }>(
      'select state, period from reserve_holds($1, $2, $3)',
      [
        agentScope(agentName),
        JSON.stringify([{ id: newId(), key: newId(), amountMicros: amount, validMs: 86_400_000 }]),
        at,
      ],
    );
  expect(await reserveAt('2027-03-30T23:59:59.999Z', 1000)).toEqual([{ state: 'granted', period: null }]);
  expect(await reserveAt('2027-03-30T23:59:59.999Z', 1)).toEqual([{ state: 'refused', period: 'daily' }]);
  expect(await reserveAt('2027-03-31T00:00:00Z', 500)).toEqual([{ state: 'granted', period: null }]);
  expect(await reserveAt('2027-03-31T12:00:00Z', 400)).toEqual([{ state: 'refused', period: 'monthly' }]);
  expect(await reserveAt('2027-04-01T00:00:00Z', 400)).toEqual([{ state: 'granted', period: null }]);
});

test('the 80 % warning is given once per period, to one of many who ask', async () => {
  const agentName = await agentWith({ daily: 1000n, monthly: 100_000n });
  const settle = async (amount: bigint) =>
    (await ledger.settleHold(await mustReserve(agentName, amount), cost(agentName, amount))).isWarningDue;
  const take = async () => await database.db.transaction().execute(async (tx) => await takeWarnings(tx, agentName));
  expect(await settle(799n)).toBe(false);
  expect(await take()).toEqual([]);
  expect(await settle(1n)).toBe(true);
  const taken = (await Promise.all([take(), take(), take()])).flat();
  expect(taken).toMatchObject([{ period: 'daily', limitMicros: 1000n, spentMicros: 800n }]);
  expect(await settle(1n)).toBe(false);
});

test('a warning whose transaction failed is given again', async () => {
  const agentName = await agentWith({ daily: 100n });
  await ledger.settleHold(await mustReserve(agentName, 90n), cost(agentName, 90n));
  await database.db
    .transaction()
    .execute(async (tx) => {
      await takeWarnings(tx, agentName);
      throw new Error('the notice could not be written');
    })
    .catch(() => undefined);
  const taken = await database.db.transaction().execute(async (tx) => await takeWarnings(tx, agentName));
  expect(taken).toHaveLength(1);
});

test('a cost without a hold is recorded, and an estimate is marked as one', async () => {
  const agentName = await agentWith({});
  await Promise.all([
    ledger.recordCost('turn:1', cost(agentName, 5n)),
    ledger.recordCost('turn:1', cost(agentName, 6n)),
    ledger.recordCost('turn:2', cost(agentName, 7n, 'estimated')),
  ]);
  expect(
    await database.query('select kind, cost_micros from ledger where agent_name = $1 order by cost_micros', [
      agentName,
    ]),
  ).toEqual([
    { kind: 'charge', cost_micros: 5n },
    { kind: 'charge', cost_micros: 6n },
    { kind: 'estimate', cost_micros: 7n },
  ]);
});

test('the ledger refuses to be changed or deleted', async () => {
  await expect(database.query('update ledger set cost_micros = 0')).rejects.toThrow('append-only');
  await expect(database.query('delete from ledger')).rejects.toThrow('append-only');
});

test('the cost report sums the calendar period by agent, model or person', async () => {
  const agentName = await agentWith({ daily: 1_000_000n });
  const personId = newId();
  await ledger.recordCost(newId(), { ...cost(agentName, 40n), personId });
  await ledger.recordCost(newId(), { ...cost(agentName, 2n), model: 'test:other' });
  const report = await costReport(database.db, { period: 'today', by: 'model', agentName });
  expect(report).toMatchObject({
    totalMicros: 42n,
    rows: [
      { name: 'test:model', calls: 1, inputTokens: 10n, outputTokens: 5n, costMicros: 40n },
      { name: 'test:other', calls: 1, costMicros: 2n },
    ],
    budgets: [{ scope: `agent:${agentName}`, period: 'daily', limitMicros: 1_000_000n }],
  });
  const byPerson = await costReport(database.db, { period: 'month', by: 'person', agentName });
  expect(byPerson.rows.map((row) => row.name)).toEqual([personId, '-']);
});

test('many calls of many processes together never pass the limit, and the balances equal the ledger', async () => {
  const agentName = await agentWith({ daily: 10_000n, monthly: 1_000_000n });
  const log = pino({ level: 'silent' });
  const pools = Array.from({ length: 6 }, () =>
    createPool({ url: database.url, connectionsMax: 4, applicationName: 'tests', log }),
  );
  const dbs = pools.map(openDatabase);
  const ledgers = dbs.map((db) => openLedger({ db }));
  let isDone = false;
  let samples = 0;
  const watch = (async () => {
    while (!isDone) {
      for (const row of await budgets(agentName)) {
        samples += 1;
        expect(row.held_micros + row.spent_micros).toBeLessThanOrEqual(row.limit_micros);
      }
    }
  })();
  let refused = 0;
  await Promise.all(
    ledgers.flatMap((one, at) =>
      Array.from({ length: 8 }, async (_, lane) => {
        for (let call = 0; call < 12; call++) {
          const amount = BigInt(1 + ((at * 31 + lane * 17 + call * 7) % 90));
          try {
            const hold = await one.reserveHold({
              agentName,
              key: newId(),
              amountMicros: amount,
              validMs: 86_400_000,
            });
            if (hold === undefined) throw new Error('the limit was lost');
            if ((at + call) % 5 === 0) await one.releaseHold(hold);
            else await one.settleHold(hold, cost(agentName, (amount * 7n) / 10n));
          } catch (err) {
            if (!isAppError(err, 'budget.exhausted')) throw err;
            refused += 1;
          }
        }
      }),
    ),
  );
  isDone = true;
  await watch;
  await Promise.all(dbs.map(async (db) => await db.destroy()));
  const [sum] = await database.query<{ total: bigint }>(
    'select sum(cost_micros)::bigint as total from ledger where agent_name = $1',
    [agentName],
  );
  for (const row of await budgets(agentName)) {
    expect(row).toMatchObject({ held_micros: 0n, spent_micros: sum?.total, overrun_micros: 0n });
  }
  expect(samples).toBeGreaterThan(10);
  expect(refused).toBeGreaterThan(0);
});

test('the holds of a killed process expire and their money can be used again', async () => {
  const agentName = await agentWith({ daily: 100n });
  const core = path.resolve(import.meta.dirname, '../../../core');
  const script = `
    import { sql } from 'kysely';
import { pino } from 'pino';
    import { createPool, openDatabase } from '${core}/kit/database.ts';
    import { openLedger } from '${core}/budgets/open-ledger.ts';
    const db = openDatabase(createPool({ url: '${database.url}', connectionsMax: 2, applicationName: 'tests', log: pino({ level: 'silent' }) }));
    const ledger = openLedger({ db });
    await Promise.all([1, 2, 3, 4].map((n) => ledger.reserveHold({ agentName: '${agentName}', key: 'k' + n, amountMicros: 25n, validMs: 1 })));
    process.stdout.write('held');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: path.dirname(core),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  await expect(reserve(agentName, 1n)).rejects.toMatchObject({ code: 'budget.exhausted' });
  const sweeps = await Promise.all([expireHolds({ db: database.db }, never), expireHolds({ db: database.db }, never)]);
  expect(sweeps[0] + sweeps[1]).toBe(4);
  await mustReserve(agentName, 100n);
});
