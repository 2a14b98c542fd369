import http from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';

/** A call that got no answer. `isSent` tells whether the platform may have taken it all the same. */
export class TransportError extends Error {
  readonly isSent: boolean;
  readonly method: string;

  constructor(method: string, isSent: boolean, problem: string) {
    super(`${method} got no answer: ${problem}`);
    this.name = 'TransportError';
    this.method = method;
    this.isSent = isSent;
  }
}

interface FetchInit {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string | Readable;
  readonly signal: AbortSignal;
}

interface FetchedAnswer {
  json(): Promise<unknown>;
}

/** Longest wait for an answer; long polls add their own hold time, uploads may be slow. */
const answerMs = 20_000;
const uploadMs = 120_000;
/** Telegram closes idle connections after about a minute; ours go first, so that no request meets a closing socket. */
const idleMs = 15_000;
/** Headroom over a batch of 100 updates or any answer we ask for. */
const answerBytesMax = 32 * 1024 * 1024;

/**
 * The `fetch` of our Telegram client, over keep-alive sockets. Unlike the default one it tells calls that never left
 * from calls whose answer was lost, turns answers that are not JSON into refusals, and keeps the address, which carries
 * the token, out of every error.
 *
 * @param options.pollSeconds how long a getUpdates call may be held by the server.
 */
export function createTelegramFetch(options: { readonly token: string; readonly pollSeconds: number }) {
  const agentOptions = { keepAlive: true, maxSockets: 128, scheduling: 'lifo', timeout: idleMs } as const;
  const agents = { 'http:': new http.Agent(agentOptions), 'https:': new https.Agent(agentOptions) };

  return async (address: string, init: FetchInit): Promise<FetchedAnswer> => {
    const url = new URL(address);
    const method = url.pathname.split('/').at(-1) ?? '';
    const isPlain = url.protocol === 'http:';
    const limitMs =
      typeof init.body === 'string' ? answerMs + (method === 'getUpdates' ? options.pollSeconds * 1_000 : 0) : uploadMs;
    const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
      let isSent = false;
      const request = (isPlain ? http : https).request(url, {
        method: init.method,
        agent: isPlain ? agents['http:'] : agents['https:'],
        headers:
          typeof init.body === 'string'
            ? { ...init.headers, 'content-length': Buffer.byteLength(init.body) }
            : init.headers,
      });
      const fail = (problem: string): void => {
        clearTimeout(timer);
        init.signal.removeEventListener('abort', onAbort);
        request.destroy();
        reject(new TransportError(method, isSent, problem));
      };
      const timer = setTimeout(() => fail(`nothing within ${limitMs / 1_000} s`), limitMs);
      const onAbort = (): void => fail('the call was cancelled');
      if (init.signal.aborted) return onAbort();
      init.signal.addEventListener('abort', onAbort, { once: true });
      request.on('socket', (socket) => {
        // From here on bytes may be on the wire; whatever goes wrong later leaves the outcome open.
        if (!socket.connecting) isSent = true;
        else socket.once(isPlain ? 'connect' : 'secureConnect', () => (isSent = true));
      });
      request.on('error', (err) => fail(scrub(err.message, options.token)));
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > answerBytesMax) fail('the answer is too large');
          else chunks.push(chunk);
        });
        response.on('error', (err) => fail(scrub(err.message, options.token)));
        response.on('end', () => {
          clearTimeout(timer);
          init.signal.removeEventListener('abort', onAbort);
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') });
        });
      });
      if (typeof init.body === 'string') request.end(init.body);
      else init.body.on('error', (err) => fail(scrub(err.message, options.token))).pipe(request);
    });
    return { json: async () => readAnswer(status, body, options.token) };
  };
}

/** Replaces the token wherever it shows. */
function scrub(text: string, token: string): string {
  const secret = token.slice(token.indexOf(':') + 1);
  return secret === '' ? text : text.replaceAll(secret, '<token>');
}

function readAnswer(status: number, body: string, token: string): unknown {
  try {
    const answer: unknown = JSON.parse(status === 200 ? body : scrub(body, token));
    if (typeof answer === 'object' && answer !== null && 'ok' in answer) return answer;
  } catch {
    // Fall through: a proxy or an outage page answered in place of the server.
  }
  // A stray page that says 401 or 404 is not the server's verdict on our token.
  const isOwnVerdict = status >= 500 || status === 413 || status === 429;
  return {
    ok: false,
    error_code: isOwnVerdict ? status : 502,
    description: `an answer that is not JSON (HTTP ${status})`,
  };
}
