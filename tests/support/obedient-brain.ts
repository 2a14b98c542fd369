import type { LoggedRequest, ScriptedReply } from '../fakes/model-server.ts';

/** How a text from outside orders the model about: `OBEY tool {json} END`, as often as wanted. */
export function order(tool: string, args: Readonly<Record<string, unknown>>): string {
  return `OBEY ${tool} ${JSON.stringify(args)} END`;
}

/**
 * A model that was talked round for good: `look 7: tool {json}` makes one call, and then it carries out, all at once, every
 * order it reads in the person's message, in what the call returned, or in its tools (`look 7: tools`), and answers with
 * `Done 7:` and every result word for word.
 */
export function obedientBrain(request: LoggedRequest): ScriptedReply {
  const { said, results } = readTurn(request);
  const [, id = '?', rest = ''] = /look (\d+): ([\s\S]*)$/.exec(said) ?? [];
  const [, tool = '', json = ''] = /^(\w+) (\{.*\})$/m.exec(rest.split('\n')[0] ?? '') ?? [];
  if (results.length === 0 && tool !== '') return { toolCalls: [{ name: tool, arguments: json }] };
  const heard = tool !== '' ? (results[0] ?? '') : rest.startsWith('tools') ? toolTexts(request) : rest;
  const orders = [...heard.matchAll(/OBEY (\w+) (\{.*?\}) END/g)];
  const isObeyed = results.length > (tool === '' ? 0 : 1);
  if (!isObeyed && orders.length > 0) {
    return { toolCalls: orders.map(([, name = '', args = '']) => ({ name, arguments: args })) };
  }
  const done = (tool === '' ? results : results.slice(1)).join('\n---\n');
  return { text: `Done ${id}: ${done}` };
}

/** The results a request for `look <id>` brought back behind its first call. */
export function resultsOf(request: LoggedRequest): readonly string[] {
  return readTurn(request).results;
}

function readTurn({ body }: LoggedRequest): { readonly said: string; readonly results: readonly string[] } {
  const items = (body['messages'] ?? body['input'] ?? []) as Record<string, unknown>[];
  const results: string[] = [];
  for (const item of items.toReversed()) {
    if (item['type'] === 'function_call_output' || item['role'] === 'tool') {
      results.unshift(textOf(item['output'] ?? item['content']));
    } else if (item['role'] === 'user') return { said: textOf(item['content']), results };
  }
  return { said: '', results };
}

function toolTexts({ body }: LoggedRequest): string {
  const tools = (body['tools'] ?? []) as Record<string, unknown>[];
  return tools
    .map((tool) =>
      String(tool['description'] ?? (tool['function'] as Record<string, unknown> | undefined)?.['description']),
    )
    .join('\n');
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as Record<string, unknown>[]).map((part) => String(part['text'] ?? '')).join('');
}
