import type { IncomingMessage } from 'node:http';

/** Parameters of one Bot API call, whatever its encoding; uploaded files are separate. */
export interface BotRequest {
  readonly params: Record<string, unknown>;
  readonly files: ReadonlyMap<string, File>;
}

export async function readRequest(request: IncomingMessage, query: URLSearchParams): Promise<BotRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const type = request.headers['content-type'] ?? '';
  const params: Record<string, unknown> = Object.fromEntries(query);
  const files = new Map<string, File>();
  if (type.startsWith('application/json')) {
    Object.assign(params, JSON.parse(body.toString('utf8') || '{}'));
  } else if (type.startsWith('multipart/form-data') || type.startsWith('application/x-www-form-urlencoded')) {
    const form = await new Request('http://localhost/', {
      method: 'POST',
      headers: { 'content-type': type },
      body,
    }).formData();
    for (const [name, value] of form) {
      if (typeof value === 'string') params[name] = parseField(value);
      else files.set(name, value);
    }
  }
  return { params, files };
}

/** Fields of a form carry objects and numbers as JSON; a text field that looks like JSON is not one we send. */
function parseField(value: string): unknown {
  if (!/^(?:[[{]|-?\d+$|true$|false$)/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
