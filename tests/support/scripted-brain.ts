import type { LoggedRequest, ScriptedReply } from '../fakes/model-server.ts';
import { answerRecords } from '../fakes/model-wires.ts';

/** An agent whose every memory needs a person's word: `call: memory_save {"text":"…"}` shows a card. */
export const memoryAsker = {
  name: 'assistant',
  frontMatter: `tools: [memory_save]
autonomy: supervised
grants:
  - ask: memory.*`,
} as const;

/**
 * A model that does what the last message says, so that many chats can share one server:
 * `exec: <command>` calls exec, `call: <tool> <json>` any tool, `say: <text>` answers, `slow: <text>` answers piece by
 * piece, `endless: <text>` says some of it and then neither more nor that it ended, `fault: <name>` fails, `failover: <text>` fails everywhere but at Anthropic, `dear: <command>` is `exec` at a price. A tool result is answered with `Result: <text>`; several messages at once are repeated.
 */
export function scriptedBrain(request: LoggedRequest): ScriptedReply {
  const { texts, lastResult } = readRequest(request);
  if (lastResult !== undefined) return { text: `Result: ${lastResult}` };
  const last = texts.at(-1) ?? '';
  const [, verb = 'say', rest = last] =
    /^(exec|call|say|slow|endless|fault|failover|dear|many):\s*([\s\S]*)$/.exec(last) ?? [];
  switch (verb) {
    case 'exec':
      return { toolCalls: [{ name: 'exec', arguments: { command: rest } }] };
    case 'dear':
      // 2,500 tokens of output cost 0.025 USD at the list price of gpt-4o.
      return {
        toolCalls: [{ name: 'exec', arguments: { command: rest } }],
        usage: { input: 100, output: 2500, cacheRead: 0 },
      };
    case 'failover':
      return request.wire === 'anthropic.messages' ? { text: rest } : { fault: 'overloaded' };
    case 'many':
      return { toolCalls: rest.split(' ; ').map((command) => ({ name: 'exec', arguments: { command } })) };
    case 'call': {
      const [name = '', ...json] = rest.split(' ');
      return { toolCalls: [{ name, arguments: json.join(' ') }] };
    }
    case 'slow':
      return { text: rest, delayMs: 400 };
    case 'endless':
      return { raw: { steps: [recordsOf(request, rest).slice(0, -4).join('')], end: 'hang' } };
    case 'fault':
      return { fault: rest as 'overloaded' };
    default:
      return { text: texts.length > 1 && verb === 'say' ? `Heard: ${texts.join(' + ')}` : rest };
  }
}

/** An answer whose second half comes once `until` is settled. */
export function heldAnswer(request: LoggedRequest, text: string, until: Promise<unknown>): ScriptedReply {
  const records = recordsOf(request, text);
  const half = Math.ceil(records.length / 2);
  return { raw: { steps: [records.slice(0, half).join(''), { until }, records.slice(half).join('')] } };
}

function recordsOf({ wire, body }: LoggedRequest, text: string): string[] {
  return answerRecords(wire, { text }, String(body['model']), { input: 100, output: 20, cacheRead: 0 });
}

/** The user texts since the last answer, and the text of the last tool result if that is what the model must answer. */
function readRequest({ body }: LoggedRequest): { texts: string[]; lastResult: string | undefined } {
  const items = (body['messages'] ?? body['input'] ?? []) as Record<string, unknown>[];
  const texts: string[] = [];
  let lastResult: string | undefined;
  for (const item of items.toReversed()) {
    if (item['type'] === 'function_call_output' || item['role'] === 'tool') {
      if (texts.length === 0) lastResult = flatten(item['output'] ?? item['content']);
      break;
    }
    if (item['role'] !== 'user') break;
    const results = Array.isArray(item['content'])
      ? (item['content'] as Record<string, unknown>[]).filter((part) => part['type'] === 'tool_result')
      : [];
    if (results.length > 0) {
      if (texts.length === 0) lastResult = results.map((part) => flatten(part['content'])).join('\n');
      break;
    }
    texts.unshift(flatten(item['content']));
  }
  return { texts, lastResult };
}

function flatten(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as Record<string, unknown>[]).map((part) => String(part['text'] ?? '')).join('');
}
