import type { Json } from '#core/kit/json.ts';
import {
  ModelError,
  type ModelEvent,
  type Part,
  type StopReason,
  type ToolCallPart,
  type Usage,
} from '#core/models/model-port.ts';
import { parseJson } from './read-json.ts';

/** What is shown while a model speaks. */
export type ModelDelta = Exclude<ModelEvent, { type: 'end' }>;

/** One complete answer, in neutral words plus the blocks to replay to the same model. */
export interface FinishedAnswer {
  readonly stop: StopReason;
  readonly parts: readonly Part[];
  /** Present only where the neutral parts do not hold everything the provider wants back. */
  readonly native?: Json;
  /** The provider's figures, when it sent any. */
  readonly usage: Usage | undefined;
  readonly model: string;
}

/** Puts one wire protocol's raw events together, strictly: nothing is repaired, nothing unfinished counts as done. */
export interface Accumulator {
  /** @throws ModelError for an error event, a broken protocol or an oversized answer. */
  push(event: unknown): readonly ModelDelta[];
  /** True once the terminal event is in; what the connection does after that no longer matters. */
  isComplete(): boolean;
  /** How long the rest of the body is worth waiting for once the answer is complete. */
  drainMs(): number;
  /** @throws ModelError `protocol` when the terminal event never came. */
  finish(): FinishedAnswer;
  /** What arrived so far, for a partial answer and an estimated charge. */
  readonly written: Written;
  usageSoFar(): Usage | undefined;
}

/** Bounds of one answer: a server that never stops must not fill the worker's memory. */
export const answerLimits = {
  textBytesMax: 2 * 1024 * 1024,
  argumentsBytesMax: 256 * 1024,
  callsMax: 128,
} as const;

/** Long enough for the bytes that end a body, short enough not to be felt when a server never ends it. */
export const shortDrainMs = 250;

/** Text of one answer in pieces, capped. `add` counts every byte the answer makes us keep. */
export class Written {
  text = '';
  reasoning = '';
  refusal = '';
  #kept = 0;

  addText(delta: string): void {
    this.keep(delta.length);
    this.text += delta;
  }

  addReasoning(delta: string): void {
    this.keep(delta.length);
    this.reasoning += delta;
  }

  addRefusal(delta: string): void {
    this.keep(delta.length);
    this.refusal += delta;
  }

  /** Counts characters kept elsewhere, such as signatures. */
  keep(length: number): void {
    this.#kept += length;
    if (this.#kept > answerLimits.textBytesMax) {
      throw new ModelError('protocol', 'The model answered with more than 2 MB of text.', { code: 'answer_too_large' });
    }
  }

  get length(): number {
    return this.#kept;
  }
}

/** A tool call in the making. */
export interface OpenCall {
  id: string;
  name: string;
  rawArguments: string;
}

export function appendArguments(written: Written, call: OpenCall, delta: string): void {
  written.keep(delta.length);
  call.rawArguments += delta;
  if (call.rawArguments.length > answerLimits.argumentsBytesMax) {
    throw new ModelError('protocol', `The arguments of ${call.name} are larger than 256 kB.`, {
      code: 'answer_too_large',
    });
  }
}

export function checkCallCount(count: number): void {
  if (count > answerLimits.callsMax) {
    throw new ModelError('protocol', `The model asked for more than ${answerLimits.callsMax} tool calls at once.`, {
      code: 'answer_too_large',
    });
  }
}

/**
 * Closes a tool call. Arguments are parsed strictly: half an object must never run as a whole one. When the answer was
 * cut short even arguments that parse are not trusted, because the cut may have fallen between two valid texts.
 */
export function closeCall(call: OpenCall, stop: StopReason): ToolCallPart {
  const wasCut = stop !== 'tools' && stop !== 'stop' && stop !== 'continue';
  const raw = call.rawArguments.trim();
  const value = raw === '' ? {} : parseJson(raw)?.value;
  const base = { type: 'tool_call', id: call.id, name: call.name, rawArguments: call.rawArguments } as const;
  if (wasCut) return { ...base, parsed: { ok: false, why: 'truncated' } };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ...base, parsed: { ok: false, why: 'invalid_json' } };
  }
  return { ...base, parsed: { ok: true, arguments: value } };
}

/** The error of a stream that ended without its terminal event, told apart from one that never began. */
export function unfinished(sawEvents: boolean, written: Written): ModelError {
  return new ModelError(
    'protocol',
    sawEvents ? 'The answer broke off before its end.' : 'The model answered with an empty stream.',
    { code: sawEvents ? 'stream_unfinished' : 'stream_empty', partialText: written.text },
  );
}

/** Puts usage figures into the neutral form; `input` must hold at least its cached parts. */
export function providerUsage(figures: {
  input: number;
  cacheRead: number;
  cacheWrite: number;
  output: number;
  reasoning: number;
}): Usage {
  return { ...figures, input: Math.max(figures.input, figures.cacheRead + figures.cacheWrite), source: 'provider' };
}
