/**
 * What a project's own hooks are written with: `import { block, defineHooks, modify } from 'switchyard/hooks'`. Stands
 * alone: it is loaded into the thread that runs them, and its types into an editor.
 */

/** Where and for whom a turn works. */
export interface HookPlace {
  readonly agent: string;
  readonly session: string;
  readonly turn: string;
  readonly kind: 'message' | 'task';
  readonly channel: string;
  readonly room: string;
  /** Who asked: a person's id; undefined for somebody unknown. */
  readonly person: string | undefined;
}

/** A tool call, its arguments as they are checked and approved. */
export interface HookedCall extends HookPlace {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Names the call: the same in every pass over it, also after a crash. */
  readonly call: string;
  /** Aborts when the turn is stopped or the hook's time is up. */
  readonly signal: AbortSignal;
}

export interface HookedOutput {
  readonly text: string;
  readonly isError: boolean;
}

export interface SessionEvent extends HookPlace {
  readonly event: 'session_created' | 'session_idle' | 'session_error' | 'session_aborted';
  /** With `session_error`: the code of the error. */
  readonly code: string | undefined;
}

/** A worker took a message or task: anew after each wait for a person and after a crash. */
export interface JobClaimed extends HookPlace {
  readonly event: 'job_claimed';
  /** 1 for the first pass. */
  readonly attempt: number;
}

/** The end of a message or task is on record. */
export interface JobCompleted extends HookPlace {
  readonly event: 'job_completed';
  readonly state: 'done' | 'failed' | 'cancelled';
  /** With `failed`: the code of the error. */
  readonly code: string | undefined;
}

/** One thing a turn did. */
export type TrajectoryStep =
  | {
      readonly kind: 'model';
      readonly model: string;
      /** ISO 8601, UTC. */
      readonly at: string;
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly usd: number;
      /** Tools the answer asked for. */
      readonly calls: number;
    }
  | {
      readonly kind: 'tool';
      readonly tool: string;
      /** The arguments as JSON, cut at 200 characters, without known secrets. */
      readonly input: string;
      readonly at: string;
      /** `refused`: blocked, denied or malformed, and never carried out. */
      readonly outcome: 'ok' | 'failed' | 'refused';
      /** Milliseconds it ran; undefined when it did not, or was begun by a worker that died. */
      readonly ms: number | undefined;
      readonly outputChars: number;
    };

/** What a turn did from its beginning to its end, over all its passes; the last 200 steps. */
export interface TurnTrajectory extends HookPlace {
  readonly event: 'turn_trajectory';
  readonly state: 'done' | 'failed' | 'cancelled';
  readonly steps: readonly TrajectoryStep[];
  readonly droppedSteps: number;
}

/** A model call is on the ledger; one that was tried several times is told for each try that cost something. */
export interface ModelUsage extends HookPlace {
  readonly event: 'model_usage';
  /** As `provider:model`. */
  readonly model: string;
  /** All that went in, with what came from a cache or went into one. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly isEstimated: boolean;
  readonly usd: number;
}

/** The budget of the agent has passed 80 %; once in each period. */
export interface BudgetWarning extends HookPlace {
  readonly event: 'budget_warning';
  readonly period: 'daily' | 'monthly';
  readonly spentUsd: number;
  readonly limitUsd: number;
  /** ISO 8601, UTC. */
  readonly resetsAt: string;
}

/** A call waits for people. */
export interface ApprovalRequested extends HookPlace {
  readonly event: 'approval_requested';
  readonly approval: string;
  readonly tool: string;
  /** The same as of `before_tool`. */
  readonly call: string;
  /** What the people read. */
  readonly summary: string;
  readonly risk: string;
}

/** The worker that goes on with the turn has read the verdict. */
export interface ApprovalDecided extends HookPlace {
  readonly event: 'approval_decided';
  readonly approval: string;
  readonly tool: string;
  readonly call: string;
  readonly verdict: 'approved' | 'denied' | 'expired' | 'cancelled';
  /** Name of the person; undefined when nobody decided. */
  readonly by: string | undefined;
  readonly reason: string | undefined;
}

export interface Section {
  readonly title: string;
  readonly text: string;
}

interface Continue {
  readonly action: 'continue';
}

interface Block {
  readonly action: 'block';
  readonly reason: string;
}

interface Modify<T> {
  readonly action: 'modify';
  readonly value: T;
}

type Maybe<T> = T | undefined | Promise<T | undefined>;
type Told = undefined | Promise<undefined> | void | Promise<void>;

/** One hook: a name and the functions of the events it takes part in. What returns nothing goes on. */
export interface UserHook {
  /** `a-z`, digits and hyphens; for `hooks.disable` and messages. */
  readonly name: string;
  /** Lower runs first; 200 unless told. Below 100 is security, from 900 on logging. */
  readonly priority?: number;
  /** Only for these agents; for all unless told. */
  readonly agents?: readonly string[];
  /** Before permissions are asked, and again in each pass over a call that waits: must say the same for the same call. */
  before_tool?(call: HookedCall): Maybe<Continue | Block | Modify<Readonly<Record<string, unknown>>>>;
  /** Block withholds the output from the model. */
  after_tool?(call: HookedCall, output: HookedOutput): Maybe<Continue | Block | Modify<Partial<HookedOutput>>>;
  /** Parts of the system message. */
  inject_context?(place: HookPlace): Maybe<readonly Section[]>;
  session_created?(event: SessionEvent): Told;
  session_idle?(event: SessionEvent): Told;
  session_error?(event: SessionEvent): Told;
  session_aborted?(event: SessionEvent): Told;
  job_claimed?(event: JobClaimed): Told;
  job_completed?(event: JobCompleted): Told;
  turn_trajectory?(event: TurnTrajectory): Told;
  model_usage?(event: ModelUsage): Told;
  budget_warning?(event: BudgetWarning): Told;
  approval_requested?(event: ApprovalRequested): Told;
  approval_decided?(event: ApprovalDecided): Told;
}

/** Gives hooks their types. Export what it returns as `hooks`, or as the file's default. */
export function defineHooks(...hooks: readonly UserHook[]): readonly UserHook[] {
  return hooks;
}

/** Goes on unchanged; the same as returning nothing. */
export function proceed(): Continue {
  return { action: 'continue' };
}

/** Stops the call, or withholds its output; the model reads the reason. */
export function block(reason: string): Block {
  return { action: 'block', reason };
}

/** Other arguments, all of them, or another output. Arguments are checked and asked for like the model's own. */
export function modify<T>(value: T): Modify<T> {
  return { action: 'modify', value };
}
