import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { createMcpHandler, type McpServerFactory } from '@modelcontextprotocol/server';

/** A server on a real socket; `before` may answer a request itself. */
export interface HttpServerOptions {
  readonly legacy?: 'stateless' | 'reject';
  readonly before?: (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;
}

export interface HttpFake extends AsyncDisposable {
  readonly url: string;
  /** `<method> <path>` of every request. */
  readonly requests: readonly string[];
}

/** Serves an MCP server over Streamable HTTP on loopback. */
export async function serveHttp(factory: McpServerFactory, options: HttpServerOptions = {}): Promise<HttpFake> {
  const handler = createMcpHandler(factory, options.legacy === undefined ? {} : { legacy: options.legacy });
  return await listen(async (request, response, base) => {
    if ((await options.before?.(request, response)) === true) return;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) {
      for (const item of [value ?? []].flat()) headers.append(name, item);
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const body = Buffer.concat(chunks);
    const answer = await handler.fetch(
      new Request(new URL(request.url ?? '/', base), {
        method: request.method ?? 'GET',
        headers,
        signal: gone.signal,
        ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body === null) response.end();
    else Readable.fromWeb(answer.body as ReadableStream<Uint8Array>).pipe(response);
  });
}

/** A plain server on loopback. */
export async function listen(
  handle: (request: IncomingMessage, response: ServerResponse, base: string) => Promise<void>,
): Promise<HttpFake> {
  const requests: string[] = [];
  let base = '';
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    handle(request, response, base).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: base,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
