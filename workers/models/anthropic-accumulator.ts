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
import { asJson, fieldOf, indexOf, parseJson, textOf } from './read-json.ts';

interface Block {
  readonly type: string;
  /** The block as it came, deltas added: what is sent back unchanged. */
  readonly raw: Record<string, Json>;
  /** Set for blocks whose input streams as text. */
  readonly call: OpenCall | undefined;
}

/**
 * Anthropic message events. `message_stop` after a stop reason is the terminal event. Thinking blocks and signatures are
 * kept byte for byte, in order: the API refuses a conversation whose thinking was changed.
 */
export function createAnthropicAccumulator(): Accumulator {
  const written = new Written();
  const blocks = new Map<number, Block>();
  const figures = new Map<string, number>();
  let hasStarted = false;
  let hasStopped = false;
  let stopReason = '';
  let explanation = '';
  let model = '';

  function start(event: unknown): void {
    if (hasStarted) throw new ModelError('protocol', 'The model began a second answer inside the first.');
    hasStarted = true;
    const message = fieldOf(event, 'message');
    model = textOf(message, 'model');
    addFigures(figures, fieldOf(message, 'usage'));
  }

  function startBlock(event: unknown, out: ModelDelta[]): void {
    const source = fieldOf(event, 'content_block');
    const type = textOf(source, 'type');
    const raw: Record<string, Json> = {};
    if (typeof source === 'object' && source !== null) {
      for (const [key, value] of Object.entries(source)) raw[key] = asJson(value);
    }
    const call = 'input' in raw ? { id: textOf(raw, 'id'), name: textOf(raw, 'name'), rawArguments: '' } : undefined;
    if (type === 'tool_use' && call !== undefined) {
      if (call.id === '' || call.name === '')
        throw new ModelError('protocol', 'The model made a tool call without a name.');
      out.push({ type: 'tool_call_started', id: call.id, name: call.name });
    }
    const index = indexOf(event, 'index') ?? blocks.size;
    blocks.set(index, { type, raw, call });
    checkCallCount(blocks.size);
    written.keep(JSON.stringify(raw).length);
    const text = textOf(raw, 'text');
    if (type === 'text' && text !== '') {
      written.addText(text);
      out.push({ type: 'text', delta: text });
    }
  }

  function pushDelta(event: unknown, out: ModelDelta[]): void {
    const block = blocks.get(indexOf(event, 'index') ?? blocks.size - 1);
    if (block === undefined) throw new ModelError('protocol', 'The model sent a piece of a block it had not begun.');
    const delta = fieldOf(event, 'delta');
    switch (textOf(delta, 'type')) {
      case 'text_delta': {
        const text = textOf(delta, 'text');
        if (text === '') return;
        written.addText(text);
        grow(block, 'text', text);
        out.push({ type: 'text', delta: text });
        return;
      }
      case 'thinking_delta': {
        const text = textOf(delta, 'thinking');
        written.addReasoning(text);
        grow(block, 'thinking', text);
        out.push({ type: 'reasoning', delta: text });
        return;
      }
      case 'signature_delta': {
        const signature = textOf(delta, 'signature');
        written.keep(signature.length);
        grow(block, 'signature', signature);
        return;
      }
      case 'input_json_delta':
        if (block.call !== undefined) appendArguments(written, block.call, textOf(delta, 'partial_json'));
        return;
      case 'citations_delta': {
        const citation = asJson(fieldOf(delta, 'citation') ?? null);
        written.keep(JSON.stringify(citation).length);
        const before = block.raw['citations'];
        block.raw['citations'] = [...(Array.isArray(before) ? before : []), citation];
        return;
      }
    }
  }

  const usageSoFar = (): Usage | undefined => readUsage(figures);

  return {
    written,
    usageSoFar,
    push: (event) => {
      const out: ModelDelta[] = [];
      switch (textOf(event, 'type')) {
        case 'message_start':
          start(event);
          break;
        case 'content_block_start':
          startBlock(event, out);
          break;
        case 'content_block_delta':
          pushDelta(event, out);
          break;
        case 'message_delta': {
          const delta = fieldOf(event, 'delta');
          stopReason = textOf(delta, 'stop_reason') || stopReason;
          explanation = textOf(fieldOf(delta, 'stop_details'), 'explanation') || explanation;
          // These figures are totals so far, not additions.
          addFigures(figures, fieldOf(event, 'usage'));
          break;
        }
        case 'message_stop':
          hasStopped = true;
          break;
        case 'error': {
          const error = fieldOf(event, 'error');
          throw failureToModelError({
            type: textOf(error, 'type') || undefined,
            message: textOf(error, 'message') || 'The provider reported a failure without a message.',
          });
        }
      }
      return out;
    },
    isComplete: () => hasStarted && hasStopped && stopReason !== '',
    drainMs: () => shortDrainMs,
    finish: (): FinishedAnswer => {
      if (!hasStarted || !hasStopped || stopReason === '') throw unfinished(hasStarted, written);
      const ordered = [...blocks].sort(([a], [b]) => a - b).map(([, block]) => block);
      const stop = stopOf(
        stopReason,
        ordered.some((block) => block.type === 'tool_use'),
      );
      const parts = ordered.flatMap((block) => partOf(block, stop));
      if (stop === 'refused') parts.push({ type: 'refusal', text: explanation });
      const native = stop === 'continue' || ordered.some(holdsMoreThanNeutral);
      return {
        stop,
        parts,
        usage: usageSoFar(),
        model,
        ...(native ? { native: ordered.map(nativeBlock) } : {}),
      };
    },
  };
}

function grow(block: Block, field: string, text: string): void {
  block.raw[field] = textOf(block.raw, field) + text;
}

function partOf(block: Block, stop: StopReason): Part[] {
  if (block.type === 'text') {
    const text = textOf(block.raw, 'text');
    return text === '' ? [] : [{ type: 'text', text }];
  }
  if (block.type === 'thinking') {
    const text = textOf(block.raw, 'thinking');
    return text === '' ? [] : [{ type: 'reasoning', text }];
  }
  if (block.type !== 'tool_use' || block.call === undefined) return [];
  return [closeCall(withWholeInput(block, block.call), stop)];
}

/** Some compatible servers send the whole input in the block's start and no deltas. */
function withWholeInput(block: Block, call: OpenCall): OpenCall {
  const input = block.raw['input'];
  const isGiven = typeof input === 'object' && input !== null && Object.keys(input).length > 0;
  return call.rawArguments === '' && isGiven ? { ...call, rawArguments: JSON.stringify(input) } : call;
}

function nativeBlock(block: Block): Json {
  if (block.call === undefined || block.call.rawArguments === '') return block.raw;
  const input = parseJson(block.call.rawArguments)?.value;
  // The API wants an object; what the model really wrote is answered by an error result.
  return { ...block.raw, input: typeof input === 'object' && input !== null && !Array.isArray(input) ? input : {} };
}

function holdsMoreThanNeutral(block: Block): boolean {
  if (block.type === 'text') return Array.isArray(block.raw['citations']) && block.raw['citations'].length > 0;
  return block.type !== 'tool_use';
}

function stopOf(reason: string, hasCalls: boolean): StopReason {
  switch (reason) {
    case 'tool_use':
      return hasCalls ? 'tools' : 'stop';
    case 'end_turn':
    case 'stop_sequence':
      return hasCalls ? 'tools' : 'stop';
    case 'max_tokens':
      return 'length';
    case 'model_context_window_exceeded':
      return 'context_full';
    case 'pause_turn':
    case 'compaction':
      return 'continue';
    case 'refusal':
      return 'refused';
    default:
      return 'other';
  }
}

const usageFields = ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens'];

function addFigures(figures: Map<string, number>, usage: unknown): void {
  for (const field of usageFields) {
    const value = fieldOf(usage, field);
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) figures.set(field, Math.round(value));
  }
  const thinking = fieldOf(fieldOf(usage, 'output_tokens_details'), 'thinking_tokens');
  if (typeof thinking === 'number' && Number.isFinite(thinking))
    figures.set('thinking', Math.max(0, Math.round(thinking)));
}

/** `input_tokens` leaves cached tokens out on this wire; the neutral figure counts all. */
function readUsage(figures: ReadonlyMap<string, number>): Usage | undefined {
  const of = (field: string): number => figures.get(field) ?? 0;
  const cacheRead = of('cache_read_input_tokens');
  const cacheWrite = of('cache_creation_input_tokens');
  const input = of('input_tokens') + cacheRead + cacheWrite;
  if (input === 0 && of('output_tokens') === 0) return undefined;
  return providerUsage({ input, cacheRead, cacheWrite, output: of('output_tokens'), reasoning: of('thinking') });
}
