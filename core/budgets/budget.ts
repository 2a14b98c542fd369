import { AppError } from '../kit/errors.ts';
import { formatUsd, type Micros } from '../kit/money.ts';
import type { Usage } from '../models/model-port.ts';

export type BudgetPeriod = 'daily' | 'monthly';

/** Who a limit is for. */
export type BudgetScope = `agent:${string}`;

/** The limits of one scope, in micro-USD per calendar day and month (UTC); undefined is no limit. */
export interface BudgetLimits {
  readonly dailyMicros?: Micros | undefined;
  readonly monthlyMicros?: Micros | undefined;
}

/** Money reserved before a call, so that concurrent calls together cannot pass a limit. */
export interface Hold {
  readonly id: string;
  readonly amountMicros: Micros;
}

/** The budget that had the least room when a hold was refused. */
export interface Refusal {
  readonly scope: BudgetScope;
  readonly period: BudgetPeriod;
  readonly limitMicros: Micros;
  /** Spent and held together. */
  readonly usedMicros: Micros;
  readonly askedMicros: Micros;
  readonly resetsAt: Date;
}

/** What one model call cost and for whom; the price it was computed with is kept beside it. */
export interface Cost {
  readonly agentName: string;
  readonly personId?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly turnId?: string | undefined;
  /** With the provider: `anthropic:claude-…`. */
  readonly model: string;
  readonly usage: Usage;
  readonly costMicros: Micros;
  /** The price row the cost was computed with. */
  readonly price?: unknown;
}

/** How a settlement ended. Only `settled` and `late` booked something. */
export interface Settlement {
  /** `late`: the hold had expired or was released; what was really spent is booked all the same. */
  readonly state: 'settled' | 'late' | 'duplicate';
  /** A budget has passed 80 % and nobody was told yet: call `takeWarnings`. */
  readonly isWarningDue: boolean;
}

/** A budget that has passed 80 % of its limit. */
export interface BudgetWarning {
  readonly scope: BudgetScope;
  readonly period: BudgetPeriod;
  readonly limitMicros: Micros;
  readonly spentMicros: Micros;
  readonly resetsAt: Date;
}

export function agentScope(agentName: string): BudgetScope {
  return `agent:${agentName}`;
}

/** The error of a refused hold: which budget, how much of how much, when it starts anew, who can raise it. */
export function budgetExhausted(refusal: Refusal): AppError {
  const { scope, period, limitMicros, usedMicros, askedMicros } = refusal;
  return new AppError(
    'budget.exhausted',
    `The ${period} budget of ${nameScope(scope)} does not cover this call: ${formatUsd(usedMicros)} of ` +
      `${formatUsd(limitMicros)} is spent or reserved, and the call may cost up to ${formatUsd(askedMicros)}.`,
    {
      mend: `It starts anew at ${utc(refusal.resetsAt)}. An owner can raise budget.${period}_usd in the profile of ${nameScope(scope)}.`,
      details: { scope, period, limitMicros: limitMicros.toString(), usedMicros: usedMicros.toString() },
    },
  );
}

/**
 * The error of a model without a price under a budget. It fails closed: an unknown price must not read as free.
 */
export function modelUnpriced(model: string, agentName: string): AppError {
  return new AppError('model.unpriced', `The price of ${model} is not known, and agent ${agentName} has a budget.`, {
    mend: 'An owner can set a price for the model in switchyard.yaml, or take the budget from the profile.',
    details: { model },
  });
}

/** The notice for the thread. */
export function describeWarning(warning: BudgetWarning): string {
  const share = (warning.spentMicros * 100n) / (warning.limitMicros === 0n ? 1n : warning.limitMicros);
  return (
    `${formatUsd(warning.spentMicros)} of the ${warning.period} budget of ${nameScope(warning.scope)} ` +
    `(${formatUsd(warning.limitMicros)}) is spent, ${share} %. It starts anew at ${utc(warning.resetsAt)}.`
  );
}

function nameScope(scope: BudgetScope): string {
  return scope.replace(':', ' ');
}

function utc(at: Date): string {
  return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
