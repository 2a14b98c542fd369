import { coalesce } from '../kit/coalesce.ts';
import type { Db } from '../kit/database.ts';
import { invariant } from '../kit/errors.ts';
import { newId } from '../kit/ids.ts';
import type { Micros } from '../kit/money.ts';
import { agentScope, type BudgetScope, budgetExhausted, type Cost, type Hold, type Settlement } from './budget.ts';
import {
  extendHolds,
  insertCosts,
  type ReserveRow,
  releaseHolds,
  reserveHolds,
  type SettleRow,
  settleHolds,
} from './budget-store.ts';

interface HoldRequest {
  readonly agentName: string;
  /** Names the call for whoever reads the ledger (turn, round, attempt). Every call reserves anew, whatever its key. */
  readonly key: string;
  /** The worst case of the call. */
  readonly amountMicros: Micros;
  /** Without `extendHold` the money goes back after this long; longer than the provider's timeout. */
  readonly validMs: number;
}

/** Reserves, settles and records money for one process. Calls that wait at the same time share one database call. */
export interface Ledger {
  /**
   * Reserves the worst case before a model call.
   * @returns undefined when the agent has no limit.
   * @throws AppError `budget.exhausted` naming the tightest budget.
   */
  reserveHold(request: HoldRequest): Promise<Hold | undefined>;
  /**
   * Books what the call really cost, in full, even above the hold and even after it expired: spent is spent.
   * Settling twice books once.
   */
  settleHold(hold: Hold, cost: Cost): Promise<Settlement>;
  /** Gives the money back: the call cost nothing. Harmless on a hold that is closed. */
  releaseHold(hold: Hold): Promise<void>;
  /** Keeps a hold alive while its call streams. @returns false when it is not open any more. */
  extendHold(hold: Hold, validMs: number): Promise<boolean>;
  /** Records a call that needed no hold; the key names it as that of a hold does. */
  recordCost(key: string, cost: Cost): Promise<void>;
}

type HoldItem = Parameters<typeof reserveHolds>[2][number];

interface CostItem {
  readonly id: string;
  readonly cost: Cost;
}

/** Most items of one database call. Larger batches only hold the budget's row lock longer. */
const batchMax = 100;

/**
 * Opens the ledger. One per process: 20 processes with 200 connections measured 4 to 5 times the throughput when the
 * waiting calls of each went together, because nobody queues on the row of the budget any more.
 */
export function openLedger(deps: { readonly db: Db }): Ledger {
  const { db } = deps;
  // One lane per scope: a batch locks the budgets of one scope and no others.
  const reservers = new Map<BudgetScope, (item: HoldItem) => Promise<ReserveRow>>();
  const reserverOf = (scope: BudgetScope): ((item: HoldItem) => Promise<ReserveRow>) => {
    const found = reservers.get(scope);
    if (found !== undefined) return found;
    const made = coalesce<HoldItem, ReserveRow>(async (items) => await reserveHolds(db, scope, items), { batchMax });
    reservers.set(scope, made);
    return made;
  };
  const settle = coalesce<CostItem & { readonly holdId: string }, SettleRow>(
    async (items) => await settleHolds(db, items),
    { batchMax },
  );
  const release = coalesce<string, undefined>(
    async (ids) => {
      await releaseHolds(db, ids);
      return ids.map(() => undefined);
    },
    { batchMax },
  );
  const record = coalesce<CostItem & { readonly key: string }, undefined>(
    async (items) => {
      await insertCosts(db, items);
      return items.map(() => undefined);
    },
    { batchMax },
  );

  return {
    reserveHold: async (request) => {
      const scope = agentScope(request.agentName);
      const id = newId();
      // The id makes the key of this call its own: a batch that is tried again finds it, another call never does.
      const { amountMicros, validMs } = request;
      const row = await reserverOf(scope)({ id, key: `${request.key}#${id}`, amountMicros, validMs });
      return toHold(row, scope, request);
    },
    settleHold: async (hold, cost) => {
      const row = await settle({ holdId: hold.id, id: newId(), cost });
      invariant(row.state !== 'unknown', 'a hold that is settled was reserved before');
      return { state: row.state, isWarningDue: row.is_warning_due };
    },
    releaseHold: async (hold) => await release(hold.id),
    extendHold: async (hold, validMs) => (await extendHolds(db, [hold.id], validMs)).length > 0,
    recordCost: async (key, cost) => {
      const id = newId();
      await record({ id, key: `${key}#${id}`, cost });
    },
  };
}

function toHold(row: ReserveRow, scope: BudgetScope, request: HoldRequest): Hold | undefined {
  switch (row.state) {
    case 'unlimited':
      return undefined;
    case 'granted':
      invariant(row.hold_id !== null, 'a granted hold has an id');
      return { id: row.hold_id, amountMicros: request.amountMicros };
    case 'used':
      invariant(false, `the key of ${request.key} is made for one call`);
      break;
    case 'refused':
      invariant(
        row.period !== null && row.limit_micros !== null && row.used_micros !== null && row.resets_at !== null,
        'a refusal names its budget',
      );
      throw budgetExhausted({
        scope,
        period: row.period,
        limitMicros: row.limit_micros,
        usedMicros: row.used_micros,
        askedMicros: request.amountMicros,
        resetsAt: row.resets_at,
      });
  }
}
