import { newToken } from '#core/kit/ids.ts';
import type { Json } from '#core/kit/json.ts';
import { estimateRequestTokens, estimateTextTokens } from '#core/models/estimate-tokens.ts';
import {
  ModelError,
  type ModelEvent,
  type ModelMessage,
  type ModelPort,
  type ModelRequest,
  type Part,
  type ToolCallPart,
} from '#core/models/model-port.ts';

/** Longest piece of a tool's output the demo quotes; chats cut long messages anyway. */
const quoteCharsMax = 3000;
const chunksPerAnswer = 4;

const help = [
  'I am the built-in demo model: I follow a few fixed phrases and understand nothing else. Try:',
  '- `run uname -a` runs a command in your sandbox',
  '- `remember the deploy day is Friday` keeps a fact',
  '- `what do you remember about deploy` looks it up',
  '',
  'For a real model set OPENAI_API_KEY or ANTHROPIC_API_KEY and start again.',
].join('\n');

type DemoAnswer = { readonly text: string } | { readonly text: string; readonly tool: string; readonly args: Json };

/**
 * A model without a network or a key, the same for the same input: it shows the product before anybody has an account,
 * and says plainly that it is a demo. It maps a few phrases to tool calls and puts tool results into sentences.
 */
export function createDemoModel(): ModelPort {
  return {
    wire: 'demo',
    // An async generator without a real wait: the port's contract is asynchronous, this model is not.
    async *stream(request, options): AsyncGenerator<ModelEvent> {
      const answer = answerTo(request);
      const parts: Part[] = [];
      for (const delta of chunksOf(answer.text)) {
        if (options.signal.aborted) throw new ModelError('aborted', 'The call was cancelled.', { emitted: true });
        yield { type: 'text', delta };
      }
      if (answer.text !== '') parts.push({ type: 'text', text: answer.text });
      if ('tool' in answer) {
        const call = callOf(answer.tool, answer.args);
        parts.push(call);
        yield { type: 'tool_call_started', id: call.id, name: call.name };
      }
      yield {
        type: 'end',
        stop: 'tool' in answer ? 'tools' : 'stop',
        message: { role: 'assistant', parts },
        usage: {
          input: estimateRequestTokens(request),
          cacheRead: 0,
          cacheWrite: 0,
          output: estimateTextTokens(JSON.stringify(parts)),
          reasoning: 0,
          source: 'estimated',
        },
        model: 'demo',
      };
    },
  };
}

function answerTo(request: ModelRequest): DemoAnswer {
  const last = request.messages.at(-1);
  if (last?.role === 'tool') return { text: describeResults(last, request.messages) };
  const text = lastUserText(request.messages);
  const command = /^\s*(?:please\s+)?(?:run|execute)\s+(\S.*)$/ims.exec(text)?.[1];
  if (command !== undefined) return useTool(request, 'exec', { command: stripQuotes(command) });
  const query = /what do you (?:remember|know) about\s+(.+?)\s*\??\s*$/im.exec(text)?.[1];
  if (query !== undefined) return useTool(request, 'memory_search', { query });
  const fact = /^\s*(?:please\s+)?remember\s+(?:that\s+)?(\S.*)$/ims.exec(text)?.[1];
  if (fact !== undefined) return useTool(request, 'memory_save', { text: fact.trim() });
  return { text: help };
}

function useTool(request: ModelRequest, tool: string, args: Json): DemoAnswer {
  if (request.tools.some(({ name }) => name === tool)) return { text: '', tool, args };
  return {
    text: `This agent does not have the tool \`${tool}\`. Add it under \`tools:\` in the agent's file and try again.`,
  };
}

function callOf(name: string, args: Json): ToolCallPart {
  return {
    type: 'tool_call',
    id: `call_${newToken(9)}`,
    name,
    rawArguments: JSON.stringify(args),
    parsed: { ok: true, arguments: args },
  };
}

function describeResults(message: ModelMessage, history: ModelRequest['messages']): string {
  const calls = new Map<string, ToolCallPart>();
  for (const { parts } of history) for (const part of parts) if (part.type === 'tool_call') calls.set(part.id, part);
  const sentences = message.parts.flatMap((part) =>
    part.type === 'tool_result' ? [describeResult(calls.get(part.callId), part.text.trim(), part.isError)] : [],
  );
  return sentences.join('\n\n');
}

function describeResult(call: ToolCallPart | undefined, text: string, isError: boolean): string {
  // The first line of a command that ran says how it ended, whether well or not.
  if (call?.name === 'exec' && /^(Exit code|Stopped|Killed|Cancelled)\b/.test(text)) {
    const [ending, ...output] = text.split('\n');
    return `I ran \`${argumentOf(call, 'command')}\`. ${ending}\n${fence(output.join('\n'))}`;
  }
  if (isError) {
    const wasRefused = /denied|not allowed|not approved|may not|refused|expired|no grant/i.test(text);
    return wasRefused ? `I did not do it: ${text}` : `That did not work:\n${fence(text)}`;
  }
  switch (call?.name) {
    case 'exec':
      return `I ran \`${argumentOf(call, 'command')}\`. It printed:\n${fence(text)}`;
    case 'memory_save':
      return `I will remember that ${argumentOf(call, 'text')}`;
    case 'memory_search':
      return /^(nothing\b|$)/i.test(text)
        ? `I remember nothing about ${argumentOf(call, 'query')}.`
        : `This is what I remember about ${argumentOf(call, 'query')}:\n${fence(text)}`;
    default:
      return `The tool answered:\n${fence(text)}`;
  }
}

/** A code fence longer than any run of backticks inside, so that the output cannot end it. */
function fence(text: string): string {
  const shown = text.length > quoteCharsMax ? `${text.slice(0, quoteCharsMax).toWellFormed()}\n… (cut)` : text;
  const longest = Math.max(2, ...(shown.match(/`+/g) ?? []).map((run) => run.length));
  const ticks = '`'.repeat(longest + 1);
  return `${ticks}\n${shown}\n${ticks}`;
}

function argumentOf(call: ToolCallPart, name: string): string {
  if (!call.parsed.ok) return '';
  const args = call.parsed.arguments;
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return '';
  const value = args[name];
  return typeof value === 'string' ? value : '';
}

function lastUserText(messages: ModelRequest['messages']): string {
  const message = messages.findLast(({ role }) => role === 'user');
  const texts = (message?.parts ?? []).flatMap((part) => (part.type === 'text' ? [part.text] : []));
  return texts.join('\n');
}

function stripQuotes(command: string): string {
  const trimmed = command.trim();
  return /^(`+)([\s\S]+)\1$/.exec(trimmed)?.[2]?.trim() ?? trimmed;
}

/** A few pieces cut at spaces, so that streaming can be seen. */
function chunksOf(text: string): string[] {
  const words = text.split(/(?<=\s)/);
  const size = Math.max(1, Math.ceil(words.length / chunksPerAnswer));
  const chunks: string[] = [];
  for (let index = 0; index < words.length; index += size) chunks.push(words.slice(index, index + size).join(''));
  return chunks.filter((chunk) => chunk !== '');
}
