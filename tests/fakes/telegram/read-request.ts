import type { IncomingMessage } from 'node:http';
import { badRequest } from './bot-api-error.ts';

export interface Upload {
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

/** Parameters of one Bot API call, whatever its encoding; uploaded files are separate. */
export interface BotRequest {
  readonly params: Record<string, unknown>;
  readonly files: ReadonlyMap<string, Upload>;
}

/** @throws BotApiError 400 when the body is not what its content type says. */
export async function readRequest(request: IncomingMessage, query: URLSearchParams): Promise<BotRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const type = request.headers['content-type'] ?? '';
  const params: Record<string, unknown> = Object.fromEntries(query);
  const files = new Map<string, Upload>();
  if (type.startsWith('application/json')) {
    try {
      Object.assign(params, JSON.parse(body.toString('utf8') || '{}'));
    } catch {
      throw badRequest("can't parse request body as JSON");
    }
  } else if (type.startsWith('application/x-www-form-urlencoded')) {
    for (const [name, value] of new URLSearchParams(body.toString('utf8'))) params[name] = parseField(value);
  } else if (type.startsWith('multipart/form-data')) {
    const boundary = /boundary="?([^";]+)/.exec(type)?.[1];
    if (boundary === undefined) throw badRequest('boundary is missing');
    for (const { headers, content } of parts(body, boundary)) {
      const name = parameter(headers, 'name');
      const filename = parameter(headers, 'filename');
      if (name === undefined) throw badRequest('a part has no name');
      if (filename === undefined) params[name] = parseField(content.toString('utf8'));
      else files.set(name, { name: filename, mime: /content-type: *(\S+)/i.exec(headers)?.[1] ?? '', bytes: content });
    }
  }
  return { params, files };
}

function* parts(body: Buffer, boundary: string): Generator<{ headers: string; content: Buffer }> {
  const delimiter = `--${boundary}`;
  let start = body.indexOf(delimiter);
  while (start !== -1) {
    start += delimiter.length;
    if (body.toString('latin1', start, start + 2) === '--') return;
    const headersEnd = body.indexOf('\r\n\r\n', start);
    const end = body.indexOf(`\r\n${delimiter}`, start);
    if (headersEnd === -1 || end === -1) throw badRequest('the form data ends too early');
    yield { headers: body.toString('utf8', start, headersEnd), content: body.subarray(headersEnd + 4, end) };
    start = end + 2;
  }
}

/** A parameter of a part's header, quoted or not. */
function parameter(headers: string, name: string): string | undefined {
  const match = new RegExp(`[; ]${name}=(?:"([^"]*)"|([^;\\r\\n]*))`, 'i').exec(headers);
  return match?.[1] ?? match?.[2];
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
