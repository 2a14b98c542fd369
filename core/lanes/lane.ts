import { z } from 'zod';
import { type Origin, originSchema } from '../sessions/origin.ts';

/** How a message that arrives while a turn runs is treated. */
export type TurnMode = 'followup' | 'steer' | 'collect' | 'interrupt';

/** What a turn may wait for while it holds no worker. */
type WaitingFor = 'approval' | 'timer' | 'child' | 'budget' | 'person';

/** A turn to be put on its session's lane. */
export interface NewTurn {
  /** UUID; also the id of the turn that results, unless the event was accepted before. */
  readonly turnId: string;
  readonly sessionId: string;
  /** What makes the same event harmless the second time: `<platform>:<bot>:<update id>`. */
  readonly eventKey: string;
  readonly mode: TurnMode;
  readonly kind: 'message' | 'task';
  readonly agentName: string;
  readonly agentVersion: string;
  readonly origin: Origin;
  readonly payload: unknown;
  /** Mode collect: wait this long after the last message before the turn starts. */
  readonly debounceMs?: number;
  /** Mode collect: but no longer than this after the first. */
  readonly maxWaitMs?: number;
  /** The inbox row this turn comes from; it becomes `routed` in the same commit. */
  readonly inboxId?: string;
}

/** What became of a new turn. */
export interface AcceptedTurn {
  readonly turnId: string;
  /** Place on the lane: turns run in this order. */
  readonly seq: number;
  /** True when the event was accepted before; `turnId` and `seq` are then those of the first time. */
  readonly isDuplicate: boolean;
  /** What was told to the turn that runs now; `waits` when it is parked, so that this one comes after it. */
  readonly signal: 'steer' | 'cancel' | 'waits' | undefined;
  /** The wake that is owed; whoever commits the transaction rings it. */
  readonly wake: LaneWake | undefined;
}

/** One ring of the bell for a lane that became ready; its generation never repeats. */
export interface LaneWake {
  readonly sessionId: string;
  readonly generation: number;
  /** Not due before this many milliseconds (collect); 0 when absent. */
  readonly delayMs?: number;
}

const absorbedTurnSchema = z.object({ id: z.string(), payload: z.unknown(), origin: originSchema });

/** A message that became part of the running turn instead of a turn of its own (steer, collect). */
export type AbsorbedTurn = z.infer<typeof absorbedTurnSchema>;

/** The row of steered turns a boundary returns. */
export const absorbedTurnsSchema = z.array(absorbedTurnSchema);

/** The turn a worker now has the right to run. */
export const claimedTurnSchema = z.object({
  id: z.string(),
  sessionId: z.string(),
  seq: z.int(),
  /** Shown with every write of this turn; a write under an older one is refused. */
  fence: z.int(),
  eventKey: z.string(),
  mode: z.enum(['followup', 'steer', 'collect', 'interrupt']),
  kind: z.enum(['message', 'task']),
  agentName: z.string(),
  agentVersion: z.string(),
  origin: originSchema,
  payload: z.unknown(),
  /** 1 for the first try; more after a crash or a wait. */
  attempts: z.int(),
  /** How many workers died while they ran it. */
  crashes: z.int(),
  /** A cancel was asked for before this try began: end the turn as cancelled. */
  isCancelled: z.boolean(),
  acceptedAtMs: z.number(),
  /** Collected with this turn, or steered into an earlier try of it; their messages may be recorded already. */
  absorbed: absorbedTurnsSchema,
});

export type ClaimedTurn = z.infer<typeof claimedTurnSchema>;

/** What proves the right to write for a turn. */
export type LaneLease = Pick<ClaimedTurn, 'id' | 'sessionId' | 'seq' | 'fence'>;

/** A fact for the session's log. */
export interface NewEvent {
  readonly kind: string;
  readonly payload: unknown;
  /** When it belongs to an absorbed turn rather than to the running one. */
  readonly turnId?: string;
}

/** What a turn has to record before it goes on. */
export interface BoundaryRecord {
  readonly lease: LaneLease;
  readonly events: readonly NewEvent[];
  /** Messages in the form `outbox_put` reads; not written once a cancel is pending. */
  readonly outbox?: readonly Readonly<Record<string, unknown>>[];
}

/** How a turn goes on after a boundary. */
export type BoundaryVerdict =
  /** The lane belongs to another worker: nothing was written, end at once and without a trace. */
  | { readonly state: 'fenced' }
  /** Someone asked to stop: finish as cancelled. */
  | { readonly state: 'cancelled' }
  | { readonly state: 'go'; readonly steered: readonly AbsorbedTurn[] };

/** How a turn ended, or why it stops for now. */
export interface TurnOutcome {
  /**
   * `waiting` parks the lane until `resumeTurns`; `released` hands the turn back unfinished to start again elsewhere,
   * and is only for a worker that stops.
   */
  readonly state: 'done' | 'failed' | 'cancelled' | 'waiting' | 'released';
  /** Required with `waiting`. */
  readonly waitingFor?: WaitingFor;
  readonly result?: unknown;
  readonly errorCode?: string;
  readonly events?: readonly NewEvent[];
  readonly outbox?: readonly Readonly<Record<string, unknown>>[];
  /** Written instead of `events` and `outbox` when a pending cancel wins over another outcome. */
  readonly cancelledEvents?: readonly NewEvent[];
  readonly cancelledOutbox?: readonly Readonly<Record<string, unknown>>[];
}

/** An outcome with the right to record it. */
export interface FinishRecord {
  readonly lease: LaneLease;
  readonly outcome: TurnOutcome;
  /** Whether the lane's next queued turn may start at once under the same owner. */
  readonly keepRunning?: boolean;
}

/** What the lane did after a turn ended. */
export type FinishVerdict =
  | { readonly state: 'fenced' }
  | {
      readonly state: 'idle' | 'parked';
      /** What was recorded: `cancelled` when a pending cancel won. */
      readonly outcome: TurnOutcome['state'];
    }
  | { readonly state: 'ready'; readonly outcome: TurnOutcome['state']; readonly wake: LaneWake }
  | { readonly state: 'running'; readonly outcome: TurnOutcome['state']; readonly next: ClaimedTurn };

/** What a wake led to. */
export type Claim =
  | { readonly state: 'turn'; readonly turn: ClaimedTurn }
  /** Not due yet: ring again after this time. */
  | { readonly state: 'early'; readonly waitMs: number }
  /** The wake was stale or doubled. */
  | { readonly state: 'none' };

/** What a cancel did to a lane. */
export interface CancelledTurns {
  /** The running turn was asked to end; it says so itself when it has. */
  readonly isRunningAsked: boolean;
  /** Turns that ended here and now. */
  readonly ended: readonly { readonly id: string; readonly origin: Origin; readonly was: 'queued' | 'waiting' }[];
  readonly wake: LaneWake | undefined;
}

/** Why a running turn must end early: a person cancelled it, another worker owns it now, or this worker stops. */
export type TurnAbortKind = 'cancelled' | 'fenced' | 'stopping';

/** The `reason` of a running turn's aborted signal. */
export class TurnAbort extends Error {
  readonly kind: TurnAbortKind;

  constructor(kind: TurnAbortKind) {
    super(`the turn was ${kind === 'stopping' ? 'handed back by a stopping worker' : kind}`);
    this.name = 'TurnAbort';
    this.kind = kind;
  }
}
