import type { Json } from '#core/kit/json.ts';
import { ModelError, type Part, type StopReason, type Usage } from '#core/models/model-port.ts';
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

/**
 * OpenAI Responses events. Only `completed` and `incomplete` end an answer; `failed` and `error` throw, and a stream
 * that ends in any other state is unfinished, whatever the last status said.
 */
export function createResponsesAccumulator(): Accumulator {
  const written = new Written();
  const items = new Map<number, Json>();
  const calls = new Map<number, OpenCall>();
  const textByItem = new Map<number, number>();
  let sawEvents = false;
  let stop: StopReason | undefined;
  let model = '';
  let usage: Usage | undefined;

  function addText(index: number, delta: string, out: ModelDelta[]): void {
    if (delta === '') return;
    written.addText(delta);
    textByItem.set(index, (textByItem.get(index) ?? 0) + delta.length);
    out.push({ type: 'text', delta });
  }

  function openItem(index: number, item: unknown, out: ModelDelta[]): OpenCall | undefined {
    if (textOf(item, 'type') !== 'function_call') return undefined;
    const known = calls.get(index);
    if (known !== undefined) return known;
    const call = { id: textOf(item, 'call_id'), name: textOf(item, 'name'), rawArguments: '' };
    if (call.id === '' || call.name === '')
      throw new ModelError('protocol', 'The model made a tool call without a name.');
    calls.set(index, call);
    checkCallCount(calls.size);
    out.push({ type: 'tool_call_started', id: call.id, name: call.name });
    return call;
  }

  function closeItem(index: number, item: unknown, out: ModelDelta[]): void {
    const call = openItem(index, item, out);
    // The closed item is the whole truth; deltas are only its preview.
    if (call !== undefined) replaceArguments(written, call, textOf(item, 'arguments'));
    if (textOf(item, 'type') === 'message') {
      const text = listOf(item, 'content').map((piece) => textOf(piece, 'text'));
      addText(index, text.join('').slice(textByItem.get(index) ?? 0), out);
    }
    if (textOf(item, 'type') === 'reasoning') written.keep(textOf(item, 'encrypted_content').length);
    items.set(index, asJson(item));
  }

  function end(response: unknown): void {
    model = textOf(response, 'model') || model;
    usage = readUsage(fieldOf(response, 'usage'));
    const reason = textOf(fieldOf(response, 'incomplete_details'), 'reason');
    if (textOf(response, 'status') === 'incomplete') stop = incompleteStop(reason);
    else if (calls.size > 0) stop = 'tools';
    else stop = written.refusal === '' ? 'stop' : 'refused';
  }

  return {
    written,
    push: (event) => {
      sawEvents = true;
      const out: ModelDelta[] = [];
      const index = indexOf(event, 'output_index') ?? 0;
      switch (textOf(event, 'type')) {
        case 'response.created':
          model = textOf(fieldOf(event, 'response'), 'model');
          break;
        case 'response.output_item.added':
          openItem(index, fieldOf(event, 'item'), out);
          break;
        case 'response.output_item.done':
          closeItem(index, fieldOf(event, 'item'), out);
          break;
        case 'response.output_text.delta':
          addText(index, textOf(event, 'delta'), out);
          break;
        case 'response.refusal.delta':
          written.addRefusal(textOf(event, 'delta'));
          break;
        case 'response.reasoning_summary_text.delta':
        case 'response.reasoning_text.delta':
          written.addReasoning(textOf(event, 'delta'));
          out.push({ type: 'reasoning', delta: textOf(event, 'delta') });
          break;
        case 'response.function_call_arguments.delta': {
          const call = calls.get(index);
          if (call !== undefined) appendArguments(written, call, textOf(event, 'delta'));
          break;
        }
        case 'response.completed':
        case 'response.incomplete':
          end(fieldOf(event, 'response'));
          break;
        case 'response.failed':
          throw failed(fieldOf(fieldOf(event, 'response'), 'error'));
        case 'error':
          throw failed(fieldOf(event, 'error') ?? event);
      }
      return out;
    },
    isComplete: () => stop !== undefined,
    drainMs: () => shortDrainMs,
    usageSoFar: () => usage,
    finish: (): FinishedAnswer => {
      if (stop === undefined) throw unfinished(sawEvents, written);
      const parts: Part[] = [];
      if (written.reasoning !== '') parts.push({ type: 'reasoning', text: written.reasoning });
      if (written.text !== '') parts.push({ type: 'text', text: written.text });
      if (written.refusal !== '') parts.push({ type: 'refusal', text: written.refusal });
      for (const [, call] of [...calls].sort(([a], [b]) => a - b)) parts.push(closeCall(call, stop));
      const blocks = [...items].sort(([a], [b]) => a - b).map(([, item]) => item);
      const native = blocks.some(holdsMoreThanNeutral) ? { native: blocks } : {};
      return { stop, parts, usage, model, ...native };
    },
  };
}

function replaceArguments(written: Written, call: OpenCall, text: string): void {
  if (text === '' || text === call.rawArguments) return;
  call.rawArguments = '';
  appendArguments(written, call, text);
}

/** Plain messages and calls are rebuilt from the neutral parts; anything else must be sent back as it came. */
function holdsMoreThanNeutral(item: Json): boolean {
  const type = textOf(item, 'type');
  return (type !== 'message' && type !== 'function_call') || textOf(item, 'phase') !== '';
}

function incompleteStop(reason: string): StopReason {
  if (reason === 'max_output_tokens') return 'length';
  return reason === 'content_filter' ? 'refused' : 'other';
}

function failed(error: unknown): ModelError {
  return failureToModelError({
    code: textOf(error, 'code') || undefined,
    type: textOf(error, 'type') || undefined,
    message: textOf(error, 'message') || 'The provider reported a failure without a message.',
  });
}

function readUsage(figures: unknown): Usage | undefined {
  const input = countOf(figures, 'input_tokens');
  const output = countOf(figures, 'output_tokens');
  if (input === 0 && output === 0) return undefined;
  const details = fieldOf(figures, 'input_tokens_details');
  return providerUsage({
    input,
    cacheRead: countOf(details, 'cached_tokens'),
    cacheWrite: countOf(details, 'cache_write_tokens'),
    output,
    reasoning: countOf(fieldOf(figures, 'output_tokens_details'), 'reasoning_tokens'),
  });
}
