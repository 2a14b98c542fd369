import type { BudgetPeriod } from '#core/budgets/budget.ts';
import type { HookTurn } from './turn-hooks.ts';

/** How a turn ended. */
export type TurnEndState = 'done' | 'failed' | 'cancelled';

/** One thing a turn did, in the order it did them. */
export type TrajectoryStep =
  | {
      readonly kind: 'model';
      readonly model: string;
      readonly at: Date;
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly costMicros: bigint;
      /** Tools the answer asked for. */
      readonly calls: number;
    }
  | {
      readonly kind: 'tool';
      readonly tool: string;
      /** The arguments as JSON, cut; known secrets are taken out. */
      readonly input: string;
      readonly at: Date;
      /** `refused`: blocked, denied or malformed, and never carried out. */
      readonly outcome: 'ok' | 'failed' | 'refused';
      /** How long it ran; undefined when it did not, or was begun by a worker that died. */
      readonly ms: number | undefined;
      readonly outputChars: number;
    };

/** The calls of one turn, over all its passes. */
export interface Trajectory {
  readonly steps: readonly TrajectoryStep[];
  /** Steps that are left out, the oldest ones. */
  readonly droppedSteps: number;
}

/** What hooks are told of besides how a session goes. Nobody waits for them, and nothing they do changes the turn. */
export type HookNews = HookTurn &
  (
    | {
        /** A worker took the turn: anew in each pass, after an approval or a crash. */
        readonly kind: 'job_claimed';
        /** 1 for the first pass. */
        readonly attempt: number;
      }
    | {
        /** The end of a turn is on record. */
        readonly kind: 'job_completed';
        readonly state: TurnEndState;
        readonly code: string | undefined;
      }
    | ({ readonly kind: 'turn_trajectory'; readonly state: TurnEndState } & Trajectory)
    | {
        /** One attempt at a model is on the ledger. */
        readonly kind: 'model_usage';
        readonly model: string;
        readonly inputTokens: number;
        readonly outputTokens: number;
        readonly cacheReadTokens: number;
        readonly cacheWriteTokens: number;
        /** The provider gave no figures, so they were estimated. */
        readonly isEstimated: boolean;
        readonly costMicros: bigint;
      }
    | {
        /** The agent's budget has passed 80 %; once per period. */
        readonly kind: 'budget_warning';
        readonly period: BudgetPeriod;
        readonly spentMicros: bigint;
        readonly limitMicros: bigint;
        readonly resetsAt: Date;
      }
    | {
        readonly kind: 'approval_requested';
        readonly approvalId: string;
        readonly tool: string;
        readonly callKey: string;
        readonly summary: string;
        readonly risk: string;
      }
    | {
        /** Told by the worker that goes on with the turn. */
        readonly kind: 'approval_decided';
        readonly approvalId: string;
        readonly tool: string;
        readonly callKey: string;
        readonly verdict: 'approved' | 'denied' | 'expired' | 'cancelled';
        /** Name of the person; undefined when time decided. */
        readonly by: string | undefined;
        readonly reason: string | undefined;
      }
  );

export type HookNewsKind = HookNews['kind'];

/** Every kind of news. */
export const hookNewsKinds = [
  'job_claimed',
  'job_completed',
  'turn_trajectory',
  'model_usage',
  'budget_warning',
  'approval_requested',
  'approval_decided',
] as const satisfies readonly HookNewsKind[];
