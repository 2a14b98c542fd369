import type { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { Json } from '#core/kit/json.ts';
import type { Micros } from '#core/kit/money.ts';
import type { Usage } from '#core/models/model-port.ts';
import type { Origin } from '#core/sessions/origin.ts';
import type { Sandbox, SandboxKind } from '../sandbox/sandbox.ts';

export type Risk = 'low' | 'medium' | 'high';

/** What a running tool may use. */
export interface ToolContext {
  readonly sessionId: string;
  readonly turnId: string;
  /** Names the call: unique within the turn, and the same in every pass. */
  readonly callKey: string;
  readonly agent: AgentProfile;
  readonly origin: Origin;
  /** Aborts on cancel, on the turn's watchdog and on shutdown. */
  readonly signal: AbortSignal;
  /** The session's container of a kind (`core` unless told), opened at the first use. */
  sandbox(kind?: SandboxKind): Promise<Sandbox>;
  /** Shows live output in the thread; best effort. */
  progress(text: string): void;
  /** Told when a call of a model that the tool made is on the ledger. */
  booked?(cost: { readonly model: string; readonly usage: Usage; readonly costMicros: bigint }): void;
}

export interface ToolResult {
  /** What the model reads. Capped by the turn as well. */
  readonly text: string;
  readonly isError: boolean;
  /** Pictures a model that can see is shown with the text: stored files. */
  readonly images?: readonly ToolImage[];
  /** The call is not over: it goes on, by another `run` with the same call key, when this question is settled. */
  readonly waitsFor?: AskedQuestion;
}

/** A question (`core/questions`) that a call has put to a person. */
interface AskedQuestion {
  readonly questionId: string;
  readonly text: string;
}

/** A stored file (`core/files`) that holds a picture. */
export interface ToolImage {
  readonly blobId: string;
  readonly mime: string;
}

/** One thing a call does, and to what. */
export interface ClaimPart {
  /** Action of the permission registry, such as `tool.exec`. */
  readonly action: string;
  /** What the grant's `on:` is matched against: a command line, a path, a host. */
  readonly resource: string;
}

/** What the gate needs to know about a call before it may run. */
export interface ToolClaim extends ClaimPart {
  /** What the call does besides. All of it is decided; the strictest answer counts, and one approval covers all of it. */
  readonly also?: readonly ClaimPart[];
  /**
   * The resource does not say all of what is done, such as what a program is given as input: an answer to it holds for
   * this call alone, and no earlier one settles it.
   */
  readonly isOnce?: boolean;
  /** What the call itself costs, where it costs anything; nothing when left out. */
  readonly costMicros?: Micros;
  /** Where it happens, when that is part of what a person allows. */
  readonly workingDirectory?: string;
  readonly risk: Risk;
  /** One line for the approval card. */
  readonly summary: string;
}

/** Where a call stands that needs a person: still waiting, or its result. */
export type Parked =
  | { readonly state: 'waiting'; readonly questionId: string; readonly text: string }
  | { readonly state: 'done'; readonly result: ToolResult };

/** What a call that waits may know of itself. */
export type ParkContext = Pick<ToolContext, 'sessionId' | 'turnId' | 'callKey' | 'agent' | 'origin'>;

/** A tool an agent may call. */
export interface Tool<Arguments = unknown> {
  readonly name: string;
  /** Written for models: what it does, when to use it, what it returns. */
  readonly description: string;
  /** The description for one agent, where it depends on what the agent has. */
  describe?(agent: AgentProfile): string;
  readonly parameters: z.ZodType<Arguments>;
  /** JSON Schema shown to models in place of what `parameters` would give: for tools that bring their own. */
  readonly inputSchema?: Json;
  /** May run beside other parallel-safe calls of the same model answer. */
  readonly isParallelSafe: boolean;
  /** May simply be run again when a crash left its outcome unknown. */
  readonly isIdempotent: boolean;
  /** The same call again is its use and no loop: it asks what has become of something. */
  readonly mayRepeat?: boolean;
  /**
   * Whether a call that was begun and cut off has stored that it waits for a person: then it goes on, and its outcome is
   * not unknown.
   */
  waitsStill?(call: Pick<ToolContext, 'turnId' | 'callKey'>): Promise<boolean>;
  /**
   * Looks at what the call will meet, before it is decided on. What it returns takes the place of the arguments: it is
   * what people are shown and approve, and what `run` gets, so that what is done is what was approved. Called again in
   * each pass; other facts make another call, which is decided anew. Changes nothing.
   */
  prepare?(args: Arguments, context: ToolContext): Promise<Arguments>;
  claim(args: Arguments): ToolClaim;
  run(args: Arguments, context: ToolContext): Promise<ToolResult>;
  /**
   * For a tool that waits for a person, called instead of `run`: asks once, then says in every later pass of the turn
   * whether there is a result. While it waits the turn holds no worker.
   */
  park?(args: Arguments, context: ParkContext): Promise<Parked>;
}
