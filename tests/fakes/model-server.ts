import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { answerRecords, type FakeAnswer, type FakeUsage, type FakeWire } from './model-wires.ts';

/** Bytes to send, a pause, or a promise to wait for: whatever a broken server does, step by step. */
type RawStep = string | Uint8Array | { readonly waitMs: number } | { readonly until: Promise<unknown> };

/** A reply in the server's own bytes. `reset` and `hang` never end the body properly. */
export interface RawReply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly steps: readonly RawStep[];
  readonly end?: 'close' | 'reset' | 'hang';
  /** Send nothing at all, not even a status line. */
  readonly noHeaders?: boolean;
}

/** Faults by name, spoken in the protocol that was asked. */
type FaultName =
  | 'auth'
  | 'billing'
  | 'context'
  | 'empty'
  | 'eof'
  | 'html'
  | 'no_headers'
  | 'overloaded'
  | 'rate_limited'
  | 'reset'
  | 'server_error'
  | 'stall';

export type ScriptedReply =
  | (FakeAnswer & { readonly usage?: FakeUsage; readonly delayMs?: number })
  | { readonly fault: FaultName; readonly retryAfter?: string }
  | { readonly raw: RawReply };

export interface LoggedRequest {
  readonly wire: FakeWire;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Record<string, unknown>;
  /** Resolves once the connection of this request is gone or its reply is complete. */
  readonly closed: Promise<void>;
}

/** Replies in order; the last one repeats. A function decides per request instead. */
export type Script = readonly ScriptedReply[] | ((request: LoggedRequest, index: number) => ScriptedReply);

export interface ModelServerOptions {
  readonly script: Script;
  readonly port?: number;
  /** Figures of every answer that names none. */
  readonly usage?: FakeUsage;
  /** The file an images endpoint gives, or an error in its own words; without it there is none. */
  readonly images?: () => Buffer | { readonly status: number; readonly message: string };
  /** What a picture took, in the words of the vendor; without it nothing is said of that. */
  readonly imageUsage?: Readonly<Record<string, unknown>>;
  /** How many requests are remembered; a benchmark needs few. */
  readonly logMax?: number;
}

export interface ModelServer extends AsyncDisposable {
  readonly port: number;
  /** Base URL for OpenAI and every compatible provider. */
  readonly openAiBaseUrl: string;
  readonly anthropicBaseUrl: string;
  readonly requests: readonly LoggedRequest[];
  /** Bodies of requests for pictures, which `images` answers. */
  readonly imageRequests: readonly unknown[];
  /** Requests served since the start or the last `use`, also those no longer remembered. */
  requestCount(): number;
  /** Connections accepted since the start. */
  connectionCount(): number;
  openConnections(): number;
  /** Replaces the script and starts counting anew. */
  use(script: Script): void;
}

const fixedUsage: FakeUsage = { input: 100, output: 20, cacheRead: 0 };

/**
 * A model vendor of our own: the three protocols on one port, without latency, with scripted answers and faults. Another
 * process sets the script with `PUT /script` (a JSON list of replies) and reads `GET /requests`.
 */
export async function startModelServer(options: ModelServerOptions): Promise<ModelServer> {
  let script = options.script;
  let count = 0;
  let connections = 0;
  const requests: LoggedRequest[] = [];
  const imageRequests: unknown[] = [];
  const sockets = new Set<Socket>();
  const logMax = options.logMax ?? 1000;
  const use = (next: Script): void => {
    script = next;
    count = 0;
    requests.length = 0;
  };

  const server = createServer((request, response) => {
    void handle(request, response).catch(() => response.destroy());
  });
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => sockets.delete(socket));
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const text = await readBody(request);
    if (path === '/script') {
      use(JSON.parse(text));
      response.end('{}');
      return;
    }
    if (path === '/requests') {
      response.end(JSON.stringify(requests.map(({ wire, body }) => ({ wire, body }))));
      return;
    }
    if (options.images !== undefined && path.endsWith('/images/generations')) {
      imageRequests.push(JSON.parse(text));
      const image = options.images();
      const isFile = Buffer.isBuffer(image);
      response.writeHead(isFile ? 200 : image.status, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(
          isFile
            ? {
                created: 1,
                data: [{ b64_json: image.toString('base64') }],
                ...(options.imageUsage === undefined ? {} : { usage: options.imageUsage }),
              }
            : { error: { message: image.message } },
        ),
      );
      return;
    }
    const wire = wireOf(path);
    if (wire === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":{"message":"no such path"}}');
      return;
    }
    const closed = new Promise<void>((resolve) => response.on('close', resolve));
    const logged: LoggedRequest = { wire, path, headers: request.headers, body: JSON.parse(text), closed };
    const index = count;
    count += 1;
    requests.push(logged);
    if (requests.length > logMax) requests.shift();
    const reply = typeof script === 'function' ? script(logged, index) : script[Math.min(index, script.length - 1)];
    if (reply === undefined) throw new Error('the script is empty');
    await send(response, wire, String(logged.body['model']), reply, options.usage ?? fixedUsage);
  }

  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return {
    port: address.port,
    openAiBaseUrl: `http://127.0.0.1:${address.port}/v1`,
    anthropicBaseUrl: `http://127.0.0.1:${address.port}`,
    requests,
    imageRequests,
    requestCount: () => count,
    connectionCount: () => connections,
    openConnections: () => sockets.size,
    use,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function wireOf(path: string): FakeWire | undefined {
  if (path.endsWith('/chat/completions')) return 'openai.chat';
  if (path.endsWith('/responses')) return 'openai.responses';
  return path.split('?')[0]?.endsWith('/messages') === true ? 'anthropic.messages' : undefined;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function send(
  response: ServerResponse,
  wire: FakeWire,
  model: string,
  reply: ScriptedReply,
  usage: FakeUsage,
): Promise<void> {
  if ('raw' in reply) return sendRaw(response, reply.raw);
  if ('fault' in reply) return sendRaw(response, faultReply(wire, model, reply.fault, reply.retryAfter));
  const records = answerRecords(wire, reply, model, reply.usage ?? usage);
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req_1', 'request-id': 'req_1' });
  if (reply.delayMs === undefined) {
    response.end(records.join(''));
    return;
  }
  for (const record of records) {
    response.write(record);
    await new Promise((resolve) => setTimeout(resolve, reply.delayMs));
  }
  response.end();
}

async function sendRaw(response: ServerResponse, raw: RawReply): Promise<void> {
  if (raw.noHeaders === true) return;
  response.writeHead(raw.status ?? 200, { 'content-type': 'text/event-stream', ...raw.headers });
  response.flushHeaders();
  for (const step of raw.steps) {
    if (typeof step === 'string' || step instanceof Uint8Array) response.write(step);
    else if ('waitMs' in step) await new Promise((resolve) => setTimeout(resolve, step.waitMs));
    else await step.until;
  }
  if (raw.end === 'hang') return;
  if (raw.end === 'reset') {
    // The bytes written so far must reach the other side before the reset overtakes them.
    await new Promise((resolve) => setTimeout(resolve, 20));
    // A process that was held up fires its timers before it reads: a client in this one gets its turns first.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    response.socket?.resetAndDestroy();
    return;
  }
  response.end();
}

/** The named fault as the asked vendor would send it. */
function faultReply(wire: FakeWire, model: string, fault: FaultName, retryAfter: string | undefined): RawReply {
  const wait: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
  const half = answerRecords(wire, { text: 'Half an answer' }, model, fixedUsage).slice(0, -4);
  switch (fault) {
    case 'auth':
      return errorReply(wire, 401, 'authentication_error', 'invalid_api_key', 'Incorrect API key provided.', wait);
    case 'billing':
      return wire === 'anthropic.messages'
        ? errorReply(wire, 400, 'invalid_request_error', '', 'Your credit balance is too low.', wait)
        : errorReply(wire, 429, 'insufficient_quota', 'insufficient_quota', 'You exceeded your current quota.', wait);
    case 'context':
      return wire === 'anthropic.messages'
        ? errorReply(wire, 400, 'invalid_request_error', '', 'prompt is too long: 210000 tokens > 200000 maximum', wait)
        : errorReply(wire, 400, 'invalid_request_error', 'context_length_exceeded', 'This is too long.', wait);
    case 'rate_limited':
      return errorReply(wire, 429, 'rate_limit_error', 'rate_limit_exceeded', 'Rate limit reached.', wait);
    case 'overloaded':
      return errorReply(wire, wire === 'anthropic.messages' ? 529 : 503, 'overloaded_error', '', 'Overloaded', wait);
    case 'server_error':
      return errorReply(wire, 500, 'api_error', '', 'Internal server error', wait);
    case 'html':
      return { headers: { 'content-type': 'text/html' }, steps: ['<html><title>Sign in</title></html>'] };
    case 'empty':
      return { steps: [] };
    case 'eof':
      return { steps: half };
    case 'reset':
      return { steps: half, end: 'reset' };
    case 'stall':
      return { steps: half, end: 'hang' };
    case 'no_headers':
      return { steps: [], noHeaders: true };
  }
}

function errorReply(
  wire: FakeWire,
  status: number,
  type: string,
  code: string,
  message: string,
  headers: Record<string, string>,
): RawReply {
  const error = wire === 'anthropic.messages' ? { type, message } : { type, code: code === '' ? null : code, message };
  const body = wire === 'anthropic.messages' ? { type: 'error', error } : { error };
  return { status, headers: { 'content-type': 'application/json', ...headers }, steps: [JSON.stringify(body)] };
}
