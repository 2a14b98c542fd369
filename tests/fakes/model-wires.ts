/** How a model server says an answer in each of the three protocols, as the vendors document them. */

interface FakeToolCall {
  readonly name: string;
  readonly arguments: unknown;
  readonly id?: string;
}

export interface FakeAnswer {
  readonly text?: string;
  readonly reasoning?: string;
  readonly toolCalls?: readonly FakeToolCall[];
  /** In Anthropic's words on its wire, in OpenAI's on the others; derived from the content when absent. */
  readonly stop?: string;
}

export interface FakeUsage {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
}

export type FakeWire = 'openai.chat' | 'openai.responses' | 'anthropic.messages';

/** One SSE record. */
function sse(data: unknown, event?: string): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

/** The records of a whole answer, in order. */
export function answerRecords(wire: FakeWire, answer: FakeAnswer, model: string, usage: FakeUsage): string[] {
  switch (wire) {
    case 'openai.chat':
      return chatRecords(answer, model, usage);
    case 'openai.responses':
      return responsesRecords(answer, model, usage);
    case 'anthropic.messages':
      return messagesRecords(answer, model, usage);
  }
}

let callNumber = 0;

function callId(call: FakeToolCall): string {
  callNumber += 1;
  return call.id ?? `call_${callNumber}`;
}

function argumentsText(call: FakeToolCall): string {
  return typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments);
}

/** Pieces of a text, so that streaming is visible but cheap. */
function pieces(text: string): string[] {
  const size = Math.max(1, Math.ceil(text.length / 4));
  const parts: string[] = [];
  for (let index = 0; index < text.length; index += size) parts.push(text.slice(index, index + size));
  return parts;
}

export function chatChunk(model: string, delta: unknown, finish: string | null = null): unknown {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model,
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
}

function chatRecords(answer: FakeAnswer, model: string, usage: FakeUsage): string[] {
  const calls = answer.toolCalls ?? [];
  const records = [sse(chatChunk(model, { role: 'assistant', content: '' }))];
  for (const delta of pieces(answer.reasoning ?? '')) records.push(sse(chatChunk(model, { reasoning_content: delta })));
  for (const delta of pieces(answer.text ?? '')) records.push(sse(chatChunk(model, { content: delta })));
  for (const [index, call] of calls.entries()) {
    const start = { index, id: callId(call), type: 'function', function: { name: call.name, arguments: '' } };
    records.push(sse(chatChunk(model, { tool_calls: [start] })));
    for (const text of pieces(argumentsText(call))) {
      records.push(sse(chatChunk(model, { tool_calls: [{ index, function: { arguments: text } }] })));
    }
  }
  records.push(sse(chatChunk(model, {}, answer.stop ?? (calls.length > 0 ? 'tool_calls' : 'stop'))));
  records.push(
    sse({
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1,
      model,
      choices: [],
      usage: {
        prompt_tokens: usage.input,
        completion_tokens: usage.output,
        total_tokens: usage.input + usage.output,
        prompt_tokens_details: { cached_tokens: usage.cacheRead },
      },
    }),
    sse('[DONE]'),
  );
  return records;
}

function responsesRecords(answer: FakeAnswer, model: string, usage: FakeUsage): string[] {
  const records: string[] = [];
  const output: unknown[] = [];
  let sequence = 0;
  const add = (type: string, fields: object): void => {
    records.push(sse({ type, sequence_number: sequence++, ...fields }, type));
  };
  add('response.created', { response: { id: 'resp_1', object: 'response', status: 'in_progress', model, output: [] } });
  if (answer.reasoning !== undefined) {
    const item = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: `enc:${answer.reasoning}` };
    add('response.output_item.added', { output_index: output.length, item: { ...item, encrypted_content: null } });
    add('response.output_item.done', { output_index: output.length, item });
    output.push(item);
  }
  if (answer.text !== undefined) {
    const at = { output_index: output.length, item_id: 'msg_1', content_index: 0 };
    const item = { type: 'message', id: 'msg_1', role: 'assistant', status: 'in_progress', content: [] };
    add('response.output_item.added', { output_index: output.length, item });
    for (const delta of pieces(answer.text)) add('response.output_text.delta', { ...at, delta });
    const done = {
      ...item,
      status: 'completed',
      content: [{ type: 'output_text', text: answer.text, annotations: [] }],
    };
    add('response.output_item.done', { output_index: output.length, item: done });
    output.push(done);
  }
  for (const call of answer.toolCalls ?? []) {
    const id = callId(call);
    const item = {
      type: 'function_call',
      id: `fc_${id}`,
      call_id: id,
      name: call.name,
      arguments: '',
      status: 'in_progress',
    };
    add('response.output_item.added', { output_index: output.length, item });
    for (const delta of pieces(argumentsText(call))) {
      add('response.function_call_arguments.delta', { output_index: output.length, item_id: item.id, delta });
    }
    const done = { ...item, arguments: argumentsText(call), status: 'completed' };
    add('response.output_item.done', { output_index: output.length, item: done });
    output.push(done);
  }
  const isCut = answer.stop === 'max_output_tokens';
  const status = isCut ? 'incomplete' : 'completed';
  add(`response.${status}`, {
    response: {
      id: 'resp_1',
      object: 'response',
      status,
      model,
      output,
      incomplete_details: isCut ? { reason: answer.stop } : null,
      usage: {
        input_tokens: usage.input,
        input_tokens_details: { cached_tokens: usage.cacheRead },
        output_tokens: usage.output,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.input + usage.output,
      },
    },
  });
  return records;
}

function messagesRecords(answer: FakeAnswer, model: string, usage: FakeUsage): string[] {
  const records: string[] = [];
  const add = (type: string, fields: object): void => {
    records.push(sse({ type, ...fields }, type));
  };
  const calls = answer.toolCalls ?? [];
  add('message_start', {
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      usage: {
        input_tokens: usage.input - usage.cacheRead,
        cache_read_input_tokens: usage.cacheRead,
        cache_creation_input_tokens: 0,
        output_tokens: 1,
      },
    },
  });
  let index = 0;
  if (answer.reasoning !== undefined) {
    add('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } });
    for (const thinking of pieces(answer.reasoning)) {
      add('content_block_delta', { index, delta: { type: 'thinking_delta', thinking } });
    }
    add('content_block_delta', { index, delta: { type: 'signature_delta', signature: 'c2ln' } });
    add('content_block_stop', { index });
    index += 1;
  }
  if (answer.text !== undefined) {
    add('content_block_start', { index, content_block: { type: 'text', text: '' } });
    for (const text of pieces(answer.text)) add('content_block_delta', { index, delta: { type: 'text_delta', text } });
    add('content_block_stop', { index });
    index += 1;
  }
  for (const call of calls) {
    add('content_block_start', {
      index,
      content_block: { type: 'tool_use', id: callId(call), name: call.name, input: {} },
    });
    for (const partial of pieces(argumentsText(call))) {
      add('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: partial } });
    }
    add('content_block_stop', { index });
    index += 1;
  }
  add('message_delta', {
    delta: { stop_reason: answer.stop ?? (calls.length > 0 ? 'tool_use' : 'end_turn'), stop_sequence: null },
    usage: { output_tokens: usage.output },
  });
  add('message_stop', {});
  return records;
}
