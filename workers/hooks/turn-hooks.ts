import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { ErrorCode } from '#core/kit/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { ToolResult } from '../tools/tool.ts';
import type { TurnWork } from '../turn/turn-deps.ts';
import type { HookNews, HookNewsKind } from './hook-news.ts';

/** The turn a hook runs in. */
export interface HookTurn {
  readonly agent: AgentProfile;
  readonly work: TurnWork;
}

/** A call of the turn that has its result. */
export interface EndedCall {
  readonly tool: string;
  /** As the model gave them. */
  readonly args: unknown;
  readonly isError: boolean;
}

/** A tool call as hooks see it: its arguments fit the tool's schema. */
export interface HookCall extends HookTurn {
  readonly tool: string;
  /** Names the call: unique within the turn, and the same in every pass. */
  readonly callKey: string;
  readonly args: unknown;
  /** The calls of this turn that have ended, oldest first; read from the session's log, so a crash loses none. */
  endedCalls(): readonly EndedCall[];
}

/** A call that was carried out. */
export interface HookedResult extends HookCall {
  /** The session's container, opened when it is asked for. */
  sandbox(): Promise<Sandbox>;
}

/** What a hook says before a tool runs. Modified arguments are checked and pass the gate like the model's own. */
export type ToolVerdict =
  | { readonly action: 'continue' }
  | { readonly action: 'block'; readonly reason: string }
  | { readonly action: 'modify'; readonly args: unknown };

/** A part of the system message. */
export interface PromptSection {
  readonly title: string;
  readonly text: string;
}

/** What became of a turn. `idle`: answered; `waiting`: for a person, or handed to another worker. */
export type TurnHookEvent = HookTurn &
  (
    | {
        readonly kind: 'started';
        /** Nothing was said in the session before; told again when the worker died before it could write that down. */
        readonly isNewSession: boolean;
      }
    | { readonly kind: 'idle' | 'waiting' | 'aborted' }
    | { readonly kind: 'failed'; readonly code: ErrorCode }
  );

/** Where the turn lets hooks take part. What a hook throws is logged; before a tool, it blocks the call. */
export interface TurnHooks {
  /** Runs before the gate, in every pass over the call; must say the same for the same call. */
  beforeTool(call: HookCall, signal: AbortSignal): Promise<ToolVerdict>;
  afterTool(call: HookedResult, result: ToolResult, signal: AbortSignal): Promise<ToolResult>;
  /** Sections for the system message, most important first. */
  context(turn: HookTurn): Promise<readonly PromptSection[]>;
  /** Tells, and does not wait. */
  turnEvent(event: TurnHookEvent): void;
  /** Tells what happened, in order, and does not wait. A hook that is a thousand behind loses what comes. */
  tell(news: HookNews): void;
  /** Whether any hook of the agent wants news of this kind; what takes work to find out is not told otherwise. */
  wantsNews(kind: HookNewsKind, agent: AgentProfile): boolean;
}
