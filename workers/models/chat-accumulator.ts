import { newToken } from '#core/kit/ids.ts';
import type { Json } from '#core/kit/json.ts';
import { ModelError, type Part, type StopReason, type Usage } from '#core/models/model-port.ts';
import type { CompatFlags } from '#core/models/providers.ts';
import {
  type Accumulator,
  appendArguments,
  checkCallCount,
  closeCall,
  type FinishedAnswer,
  type ModelDelta,
  type OpenCall,
  providerUsage,
  shortDrainMs,
  unfinished,
  Written,
} from './accumulator.ts';
import { failureToModelError } from './classify-model-error.ts';
import { asJson, countOf, fieldOf, indexOf, listOf, textOf } from './read-json.ts';

/** Usage comes in a chunk of its own after the finish; every server seen sends it at once. */
const usageDrainMs = 2000;

interface ChatCall extends OpenCall {
  readonly index: number | undefined;
  /** Fields we do not know, such as Gemini's thought signature: they must come back unchanged. */
  readonly extra: Record<string, Json>;
}

/**
 * Chat completion chunks of OpenAI and of everything that claims to be compatible. The finish reason is the terminal
 * event: `[DONE]` alone proves nothing, and some servers leave it out.
 */
export function createChatAccumulator(flags: CompatFlags): Accumulator {
  const written = new Written();
  const calls: ChatCall[] = [];
  const reasoningDetails: Record<string, Json>[] = [];
  let reasoningField = '';
  let sawEvents = false;
  let finish = '';
  let model = '';
  let usage: Usage | undefined;

  function pushDelta(delta: unknown, out: ModelDelta[]): void {
    const text = contentText(fieldOf(delta, 'content'));
    if (text !== '') {
      written.addText(text);
      out.push({ type: 'text', delta: text });
    }
    const refusal = textOf(delta, 'refusal');
    if (refusal !== '') written.addRefusal(refusal);
    // Servers that send both repeat the same text in both.
    const field = textOf(delta, 'reasoning_content') !== '' ? 'reasoning_content' : 'reasoning';
    const reasoning = textOf(delta, field);
    if (reasoning !== '') {
      reasoningField = field;
      written.addReasoning(reasoning);
      out.push({ type: 'reasoning', delta: reasoning });
    }
    for (const detail of listOf(delta, 'reasoning_details')) addReasoningDetail(reasoningDetails, detail, written);
    for (const call of listOf(delta, 'tool_calls')) pushCall(call, out);
  }

  function pushCall(raw: unknown, out: ModelDelta[]): void {
    const fn = fieldOf(raw, 'function');
    const id = textOf(raw, 'id');
    const name = textOf(fn, 'name');
    const index = indexOf(raw, 'index');
    let call = findCall(calls, id, name, index);
    if (call === undefined) {
      call = { id: id === '' ? `call_${newToken(9)}` : id, name, rawArguments: '', index, extra: {} };
      calls.push(call);
      checkCallCount(calls.length);
      if (name !== '') out.push({ type: 'tool_call_started', id: call.id, name });
    } else if (call.name === '' && name !== '') {
      call.name = name;
      out.push({ type: 'tool_call_started', id: call.id, name });
    }
    const args = fieldOf(fn, 'arguments');
    // Some servers send the arguments as an object instead of its text.
    if (typeof args === 'string') appendArguments(written, call, args);
    else if (typeof args === 'object' && args !== null) appendArguments(written, call, JSON.stringify(args));
    keepExtra(raw, call.extra, written);
  }

  return {
    written,
    push: (chunk) => {
      sawEvents = true;
      failOnErrorChunk(chunk);
      if (model === '') model = textOf(chunk, 'model');
      const figures = fieldOf(chunk, 'usage') ?? fieldOf(fieldOf(chunk, 'x_groq'), 'usage');
      usage = readUsage(figures, flags.outputFromTotal) ?? usage;
      const out: ModelDelta[] = [];
      for (const choice of listOf(chunk, 'choices')) {
        if ((indexOf(choice, 'index') ?? 0) !== 0) continue;
        pushDelta(fieldOf(choice, 'delta'), out);
        const reason = textOf(choice, 'finish_reason').toLowerCase();
        if (reason === 'error') throw new ModelError('transient', 'The provider ended the answer with an error.');
        if (reason !== '') finish = reason;
      }
      return out;
    },
    isComplete: () => finish !== '',
    drainMs: () => (flags.usageInStream && usage === undefined ? usageDrainMs : shortDrainMs),
    usageSoFar: () => usage,
    finish: (): FinishedAnswer => {
      if (finish === '') throw unfinished(sawEvents, written);
      const stop = stopOf(finish, calls.length > 0, written.refusal !== '');
      const parts: Part[] = [];
      if (written.reasoning !== '') parts.push({ type: 'reasoning', text: written.reasoning });
      if (written.text !== '') parts.push({ type: 'text', text: written.text });
      if (written.refusal !== '') parts.push({ type: 'refusal', text: written.refusal });
      for (const call of calls) parts.push(closeCall(call, stop));
      const native = nativeOf(calls, reasoningDetails, reasoningField, written.reasoning, flags.replayReasoning);
      return { stop, parts, usage, model, ...(native === undefined ? {} : { native }) };
    },
  };
}

/** vLLM reports an error inside a 200 stream in a shape the SDK does not look for. */
function failOnErrorChunk(chunk: unknown): void {
  if (textOf(chunk, 'object') !== 'error') return;
  const code = fieldOf(chunk, 'code');
  throw failureToModelError({
    status: typeof code === 'number' ? code : undefined,
    type: textOf(chunk, 'type') || undefined,
    message: textOf(chunk, 'message') || 'an error without a message',
  });
}

/**
 * The call a fragment belongs to. An id decides; without one the index does; a new id with a name, or a new name, at an
 * index in use opens a new call, because Gemini numbers every parallel call 0 and some servers number none.
 */
function findCall(
  calls: readonly ChatCall[],
  id: string,
  name: string,
  index: number | undefined,
): ChatCall | undefined {
  const known = id === '' ? undefined : calls.find((call) => call.id === id);
  if (known !== undefined) return known;
  const atIndex = index === undefined ? calls.at(-1) : calls.findLast((call) => call.index === index);
  if (atIndex === undefined) return undefined;
  if (name === '') return atIndex;
  return id === '' && (atIndex.name === '' || atIndex.name === name) ? atIndex : undefined;
}

const knownCallFields = new Set(['id', 'index', 'type', 'function']);

function keepExtra(raw: unknown, extra: Record<string, Json>, written: Written): void {
  if (typeof raw !== 'object' || raw === null) return;
  for (const [key, value] of Object.entries(raw)) {
    if (knownCallFields.has(key) || value === null || value === undefined) continue;
    written.keep(JSON.stringify(value).length);
    extra[key] = asJson(value);
  }
}

/** Pieces of one reasoning block stream under one index; joined, they are what the router wants back. */
function addReasoningDetail(details: Record<string, Json>[], raw: unknown, written: Written): void {
  if (typeof raw !== 'object' || raw === null) return;
  const piece = Object.fromEntries(Object.entries(raw).map(([key, value]) => [key, asJson(value)]));
  written.keep(JSON.stringify(piece).length);
  const last = details.at(-1);
  if (last === undefined || last['type'] !== piece['type'] || last['index'] !== piece['index']) {
    details.push(piece);
    return;
  }
  for (const [key, value] of Object.entries(piece)) {
    const before = last[key];
    const isGrowing = (key === 'text' || key === 'summary' || key === 'data') && typeof before === 'string';
    if (isGrowing && typeof value === 'string') last[key] = before + value;
    else if (value !== null) last[key] = value;
  }
}

/** What the neutral parts do not hold: reasoning to send back, and unknown fields per call id. */
function nativeOf(
  calls: readonly ChatCall[],
  details: readonly Record<string, Json>[],
  reasoningField: string,
  reasoning: string,
  replayReasoning: boolean,
): Json | undefined {
  const message: Record<string, Json> = {};
  if (replayReasoning && details.length > 0) message['reasoning_details'] = [...details];
  else if (replayReasoning && reasoning !== '') message[reasoningField] = reasoning;
  const extras = calls.filter((call) => Object.keys(call.extra).length > 0).map((call) => [call.id, call.extra]);
  if (Object.keys(message).length === 0 && extras.length === 0) return undefined;
  return { message, calls: Object.fromEntries(extras) };
}

function stopOf(finish: string, hasCalls: boolean, hasRefusal: boolean): StopReason {
  switch (finish) {
    case 'length':
      return 'length';
    case 'content_filter':
      return 'refused';
    case 'stop':
    case 'tool_calls':
    case 'function_call':
      // Gemini finishes with "stop" after tool calls.
      if (hasCalls) return 'tools';
      return hasRefusal ? 'refused' : 'stop';
    default:
      return 'other';
  }
}

/** A few servers send content as a list of typed pieces. */
function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  return Array.isArray(content) ? content.map((piece) => textOf(piece, 'text')).join('') : '';
}

/** Figures of nothing but zeros are a server that does not count, not a free call. */
function readUsage(figures: unknown, outputFromTotal: boolean): Usage | undefined {
  const input = countOf(figures, 'prompt_tokens');
  const completion = countOf(figures, 'completion_tokens');
  if (input === 0 && completion === 0) return undefined;
  const details = fieldOf(figures, 'prompt_tokens_details');
  const output = outputFromTotal ? Math.max(completion, countOf(figures, 'total_tokens') - input) : completion;
  return providerUsage({
    input,
    cacheRead: countOf(details, 'cached_tokens') || countOf(figures, 'prompt_cache_hit_tokens'),
    cacheWrite: countOf(details, 'cache_write_tokens'),
    output,
    reasoning: countOf(fieldOf(figures, 'completion_tokens_details'), 'reasoning_tokens') || output - completion,
  });
}
