import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Certificate } from './certificate.ts';

/** One request as it arrived. */
interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** A web server of somebody else's, on loopback. It keeps what it was sent. */
export interface Upstream extends AsyncDisposable {
  readonly port: number;
  readonly requests: SeenRequest[];
  /** Connections it has taken. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly open: number;
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void | Promise<void>;

/** What it answers by path; a test adds its own. */
const answers: Readonly<Record<string, Answer>> = {
  /** Shows back what it was sent, as debug endpoints do. */
  '/echo': (request, response, body) => {
    response.setHeader('x-echo', request.headers.authorization ?? 'none');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ headers: request.headers, body: body.toString() }));
  },
  '/echo-gzip': (request, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end(gzipSync(JSON.stringify(request.headers)));
  },
  '/echo-range': (request, response) => {
    const text = request.headers.authorization ?? '';
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    response.end(range === null ? text : text.slice(Number(range[1]), Number(range[2]) + 1));
  },
  /** A header value, a byte at a time. */
  '/echo-drip': async (request, response) => {
    for (const char of request.headers.authorization ?? '') {
      response.write(char);
      await sleep(1);
    }
    response.end();
  },
  '/cookie': (_request, response) => {
    response.setHeader('set-cookie', ['session=abc; HttpOnly', 'other=1']);
    response.end('ok');
  },
  '/redirect': (request, response) => {
    const params = new URL(request.url ?? '', 'http://x').searchParams;
    response.writeHead(Number(params.get('status') ?? '302'), { location: params.get('to') ?? '/' });
    response.end();
  },
  '/loop': (_request, response) => {
    response.writeHead(302, { location: '/loop' });
    response.end();
  },
  '/big': async (request, response) => {
    const bytes = Number(new URL(request.url ?? '', 'http://x').searchParams.get('bytes'));
    const chunk = Buffer.alloc(65_536, 'x');
    let left = bytes;
    while (left > 0 && !response.destroyed) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!response.write(part)) await drained(response);
    }
    response.end();
  },
  /** 64 MiB of nothing in 64 kB. */
  '/bomb': (_request, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end(gzipSync(Buffer.alloc(64 << 20)));
  },
  '/headers': (_request, response) => {
    for (let index = 0; index < 40; index++) response.setHeader(`x-${index}`, 'v'.repeat(1000));
    response.end();
  },
  '/silent': () => undefined,
  '/stall': (_request, response) => {
    response.write('beginning');
  },
  /** A character now and then, for as long as somebody listens. */
  '/endless': async (_request, response) => {
    while (!response.destroyed) {
      response.write('.');
      await sleep(20);
    }
  },
  '/hop': (_request, response) => {
    response.setHeader('connection', 'x-secret-hop');
    response.setHeader('x-secret-hop', '1');
    response.setHeader('proxy-authenticate', 'Basic');
    response.setHeader('alt-svc', 'h3=":443"');
    response.end('ok');
  },
  '/events': async (_request, response) => {
    response.setHeader('content-type', 'text/event-stream');
    response.write('data: one\n\n');
    await sleep(30);
    response.end('data: two\n\n');
  },
};

export async function startUpstream(
  options: {
    readonly tls?: Certificate;
    readonly host?: string;
    readonly port?: number;
    readonly answers?: Readonly<Record<string, Answer>>;
  } = {},
): Promise<Upstream> {
  const requests: SeenRequest[] = [];
  let connections = 0;
  const open = new Set<Socket>();
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const { method = '', url = '', headers, rawHeaders } = request;
      requests.push({ method, url, headers, rawHeaders, body: body.toString() });
      const { pathname } = new URL(url, 'http://x');
      const answer = options.answers?.[pathname] ?? answers[pathname];
      if (answer === undefined) response.end(`reached ${pathname}`);
      else void answer(request, response, body);
    });
  };
  const server: Server =
    options.tls === undefined ? createHttpServer(listener) : createHttpsServer({ ...options.tls }, listener);
  server.on('connection', (socket: Socket) => {
    connections += 1;
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    requests,
    get connections() {
      return connections;
    },
    get open() {
      return open.size;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.once('drain', go).once('close', go);
  });
}
