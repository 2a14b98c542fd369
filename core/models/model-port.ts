import type { Json } from '../kit/json.ts';

/** One piece of a message to or from a model. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | ImagePart
  | { readonly type: 'reasoning'; readonly text: string }
  | ToolCallPart
  | {
      readonly type: 'tool_result';
      readonly callId: string;
      readonly text: string;
      readonly isError: boolean;
      /** Pictures that belong to the result. */
      readonly images?: readonly ImagePart[];
    }
  | { readonly type: 'refusal'; readonly text: string };

/** A picture, whole. A model that cannot see is told in its place that there is one. */
export interface ImagePart {
  readonly type: 'image';
  readonly mime: string;
  readonly dataBase64: string;
  /** In pixels, where known; what a picture costs depends on it. */
  readonly width?: number;
  readonly height?: number;
}

/** A tool call as the model made it. `rawArguments` is the untouched text; `arguments` only where it parsed strictly. */
export interface ToolCallPart {
  readonly type: 'tool_call';
  readonly id: string;
  readonly name: string;
  readonly rawArguments: string;
  readonly parsed:
    | { readonly ok: true; readonly arguments: Json }
    | { readonly ok: false; readonly why: 'invalid_json' | 'truncated' };
}

/** The wire protocol a provider speaks. */
export type Wire = 'openai.chat' | 'openai.responses' | 'anthropic.messages' | 'demo';

/**
 * One message of a conversation. `native` keeps the provider's own blocks (thinking signatures, encrypted reasoning,
 * thought signatures) byte for byte; it is replayed only to the same wire and model and dropped otherwise.
 */
export interface ModelMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly parts: readonly Part[];
  readonly native?: { readonly wire: Wire; readonly model: string; readonly blocks: Json };
}

/** A tool as a model sees it: `parameters` is a JSON Schema object. */
export interface ModelTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: Json;
}

export interface ModelRequest {
  /** The provider's model id, without our provider prefix. */
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ModelTool[];
  /** Upper bound of answer tokens; the budget hold is computed from it. */
  readonly outputTokensMax: number;
  /** Left out unless the operator set it: several vendors refuse any value. */
  readonly temperature?: number;
  readonly effort?: 'none' | 'low' | 'medium' | 'high' | 'max';
  /** Stable per session, so that the provider's prompt cache can be hit. */
  readonly cacheKey?: string;
}

/** Why a model stopped, in neutral words (models.md section 8). */
export type StopReason = 'stop' | 'tools' | 'length' | 'context_full' | 'continue' | 'refused' | 'other';

/** Tokens of one call. `input` includes `cacheRead` and `cacheWrite`. */
export interface Usage {
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly output: number;
  /** How many of `output` are of a picture, which some models charge otherwise; absent where there is none. */
  readonly outputImage?: number;
  readonly reasoning: number;
  /** `estimated` when the stream ended without the provider's own figures. */
  readonly source: 'provider' | 'estimated';
}

/** What a streaming call yields: any number of deltas, then exactly one `end`; otherwise the iterator throws. */
export type ModelEvent =
  | { readonly type: 'text'; readonly delta: string }
  | { readonly type: 'reasoning'; readonly delta: string }
  | { readonly type: 'tool_call_started'; readonly id: string; readonly name: string }
  | {
      readonly type: 'end';
      readonly stop: StopReason;
      readonly message: ModelMessage;
      readonly usage: Usage;
      /** The model id the provider says it used. */
      readonly model: string;
      readonly requestId?: string;
    };

export interface ModelCallOptions {
  readonly signal: AbortSignal;
  /** Time until response headers. */
  readonly headerMs: number;
  /** Longest silence between two bytes of the body. */
  readonly idleMs: number;
  /** The whole call. */
  readonly totalMs: number;
}

/** One provider endpoint. An implementation makes one attempt and never retries; retry is policy, above it. */
export interface ModelPort {
  readonly wire: Wire;
  /** @throws ModelError; `emitted` says whether anything visible was yielded before. */
  stream(request: ModelRequest, options: ModelCallOptions): AsyncIterable<ModelEvent>;
}

/** Classes of failure that decide retry, cool-down and fail-over (models.md section 9). */
export type ModelErrorKind =
  | 'aborted'
  | 'auth'
  | 'billing'
  | 'rate'
  | 'overloaded'
  | 'transient'
  | 'timeout'
  | 'context'
  | 'content'
  | 'invalid'
  | 'protocol';

/** A classified failure of one model call. Its message is cut to 500 characters and holds no key. */
export class ModelError extends Error {
  readonly kind: ModelErrorKind;
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** True once text or a tool call was yielded: such a call is never silently made again. */
  readonly emitted: boolean;
  /** What arrived before the failure, for an honest partial answer and an estimated charge. */
  readonly partialText: string;
  /** The provider's figures, if they came before the failure. */
  readonly usage: Usage | undefined;

  constructor(
    kind: ModelErrorKind,
    message: string,
    details: {
      readonly status?: number | undefined;
      readonly code?: string | undefined;
      readonly requestId?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly emitted?: boolean;
      readonly partialText?: string;
      readonly usage?: Usage | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message.slice(0, 500), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ModelError';
    this.kind = kind;
    this.status = details.status;
    this.code = details.code;
    this.requestId = details.requestId;
    this.retryAfterMs = details.retryAfterMs;
    this.emitted = details.emitted ?? false;
    this.partialText = details.partialText ?? '';
    this.usage = details.usage;
  }
}
