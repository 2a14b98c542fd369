import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { ModelEvent, ModelMessage, ModelTool, StopReason, Usage } from '#core/models/model-port.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';
import type { Origin } from '#core/sessions/origin.ts';
import type { TurnEvent, TurnPayload } from '#core/turns/turn-event.ts';
import type { LiveStage } from '../delivery/live-stage.ts';
import type { TurnHooks } from '../hooks/turn-hooks.ts';
import type { SandboxPort } from '../sandbox/sandbox.ts';
import type { Tool, ToolClaim } from '../tools/tool.ts';

/** A claimed turn as the loop sees it. */
export interface TurnWork {
  readonly turnId: string;
  readonly sessionId: string;
  readonly kind: 'message' | 'task';
  readonly agentName: string;
  readonly agentVersion: string;
  readonly origin: Origin;
  /** The turn's own message first, then those collected or steered into it, in the order they came. */
  readonly messages: readonly TurnMessage[];
  /** 1 for the first pass. */
  readonly attempts: number;
  /** Workers that died while they ran this turn. */
  readonly crashes: number;
}

/** A message with the turn it was accepted as. */
export interface TurnMessage {
  readonly turnId: string;
  readonly payload: TurnPayload;
}

/** The running turn's line to its lane. */
export interface TurnControl {
  /** Aborts when the turn is cancelled, fenced out or handed back; the reason is a `TurnAbort`. */
  readonly signal: AbortSignal;
  /** Aborts when the worker stops: the turn is handed back at the next boundary. */
  readonly stopping: AbortSignal;
  /** Stores events and messages under the lane's fence and looks for a cancel and steered messages. */
  boundary(
    events: readonly TurnEvent[],
    messages: readonly NewMessage[],
  ): Promise<
    { readonly state: 'fenced' | 'cancelled' } | { readonly state: 'go'; readonly steered: readonly TurnMessage[] }
  >;
}

/** How a pass over a turn ended; the lane writes it in one transaction. */
export interface PassOutcome {
  readonly state: 'done' | 'failed' | 'cancelled' | 'waiting' | 'released';
  /** With `waiting`. */
  readonly waitingFor?: 'approval' | 'person';
  readonly events: readonly TurnEvent[];
  readonly messages: readonly NewMessage[];
  /** Said instead when a cancel arrives before the end is written. */
  readonly messagesIfCancelled: readonly NewMessage[];
  readonly errorCode?: string;
}

/** One call of the model chain with its budget; throws AppError. */
export interface ModelAnswer {
  readonly message: ModelMessage;
  readonly stop: StopReason;
  readonly usage: Usage;
  readonly costMicros: bigint;
  readonly model: string;
  /** Resolves when the cost is on the ledger; the turn does not end before that. */
  readonly booked: Promise<void>;
}

export type AskModel = (
  request: {
    readonly agent: AgentProfile;
    readonly work: TurnWork;
    readonly messages: readonly ModelMessage[];
    readonly tools: readonly ModelTool[];
    /** Counts the model calls of this turn; part of the hold's idempotency key. */
    readonly round: number;
  },
  options: {
    readonly signal: AbortSignal;
    readonly onEvent: (event: ModelEvent) => void;
    /** The attempt failed and the next one starts from nothing. */
    readonly onRestart: () => void;
  },
) => Promise<ModelAnswer>;

/** What the gate says about one tool call. */
export type GateDecision =
  | { readonly effect: 'allow' }
  | { readonly effect: 'deny'; readonly reason: string }
  | { readonly effect: 'wait'; readonly approvalId: string; readonly summary: string };

/** The one gate every effect of an agent passes: permission, then approval; each decision is audited. */
export type Gate = (call: {
  readonly agent: AgentProfile;
  readonly work: TurnWork;
  readonly tool: Tool;
  /** Unique within the turn. */
  readonly callKey: string;
  readonly args: unknown;
  readonly claim: ToolClaim;
}) => Promise<GateDecision>;

interface TurnLimits {
  readonly messageRoundsMax: number;
  readonly taskRoundsMax: number;
  readonly messageMs: number;
  readonly taskMs: number;
  /** Events read back into the context. */
  readonly contextEventsMax: number;
  readonly toolResultCharsMax: number;
}

export interface TurnDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  readonly findAgent: (name: string, version: string) => Promise<AgentProfile>;
  /** The tools this agent may call in this turn, by name; those of skills and MCP servers among them. */
  readonly toolsOf: (agent: AgentProfile, work: TurnWork) => Promise<ReadonlyMap<string, Tool>>;
  readonly hooks: TurnHooks;
  readonly sandboxes: SandboxPort;
  readonly askModel: AskModel;
  readonly gate: Gate;
  readonly findSender: (channel: string, account: string) => ChannelSender | undefined;
  /** What the live previews of all turns of this worker share. */
  readonly liveStage: LiveStage;
  readonly limits: TurnLimits;
}
