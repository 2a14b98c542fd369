import { randomBytes } from 'node:crypto';
import { chmod, rename, rm, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { decideTunnel } from '#core/egress/decide-egress.ts';
import type { SandboxGateway, SandboxSpec } from '../sandbox/sandbox.ts';
import { forwardRequest } from './forward-request.ts';
import type { GatewayDeps } from './gateway-deps.ts';
import { openTunnel, type Tunnel } from './open-tunnel.ts';

/**
 * The way out of one sandbox: a proxy on a unix socket that stands in the sandbox's own folder. Whoever can reach the
 * socket is that sandbox, so there is no token that could be lost. Nothing that comes in is believed: what the parser
 * lets through is read again, and what could be read in two ways is refused.
 */
export class GatewayServer implements SandboxGateway {
  readonly #deps: GatewayDeps;
  readonly #server: Server;
  readonly #path: string;
  readonly #inode: bigint;
  readonly #tunnels = new Set<Tunnel>();
  readonly #sockets: Set<Duplex>;
  #spec: SandboxSpec;

  private constructor(
    deps: GatewayDeps,
    spec: SandboxSpec,
    bound: { readonly server: Server; readonly path: string; readonly inode: bigint },
  ) {
    this.#deps = deps;
    this.#spec = spec;
    this.#server = bound.server;
    this.#path = bound.path;
    this.#inode = bound.inode;
    this.#sockets = new Set();
    const { server } = bound;
    server.on('request', (request, response) => this.#forward(request, response));
    // With a listener of its own, a refused upload is not asked for first.
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#forward(request, response),
    );
    server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) =>
      this.#tunnel(request, client, head),
    );
    server.on('clientError', (err: NodeJS.ErrnoException, socket: Duplex) => answerError(err, socket));
    server.on('error', (err) => deps.log.warn({ err, sessionId: spec.sessionId }, 'gateway of a sandbox failed'));
  }

  /** Binds beside and renames over: whoever bound last has the sandbox, in one step. */
  static async open(deps: GatewayDeps, spec: SandboxSpec, socketPath: string): Promise<GatewayServer> {
    const { limits } = deps;
    const server = createServer({
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: Math.min(limits.headersMs, 5_000),
      keepAliveTimeout: 15_000,
      insecureHTTPParser: false,
      requireHostHeader: true,
    });
    // Counted in bytes above; a limit in numbers would drop headers without a word.
    server.maxHeadersCount = 0;
    server.maxConnections = limits.connectionsMax;
    const own = path.join(path.dirname(socketPath), `.${randomBytes(4).toString('hex')}`);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(own, () => {
        server.off('error', reject);
        resolve();
      });
    });
    await chmod(own, 0o666);
    const { ino } = await stat(own, { bigint: true });
    const gateway = new GatewayServer(deps, spec, { server, path: socketPath, inode: ino });
    await rename(own, socketPath);
    return gateway;
  }

  update(spec: SandboxSpec): void {
    this.#spec = spec;
    for (const tunnel of this.#tunnels) {
      if (decideTunnel(spec.egress ?? [], tunnel, spec.agent).effect === 'refuse') tunnel.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const isOurs = await stat(this.#path, { bigint: true }).then(
      ({ ino }) => ino === this.#inode,
      () => false,
    );
    for (const tunnel of this.#tunnels) tunnel.end();
    for (const socket of this.#sockets) socket.destroy();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
    if (isOurs) await rm(this.#path, { force: true });
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => response.destroy());
    request.on('error', () => undefined);
    forwardRequest(this.#deps, this.#spec, request, response).catch((err: unknown) => {
      this.#deps.log.error({ err, sessionId: this.#spec.sessionId }, 'request of a sandbox failed');
      // The database is away, for one: what cannot be put on record does not go out.
      if (response.headersSent) response.destroy();
      else
        response.writeHead(503, { 'x-switchyard-gateway': 'refused', connection: 'close' }).end('Try again later.\n');
    });
  }

  #tunnel(request: IncomingMessage, client: Duplex, head: Buffer): void {
    this.#sockets.add(client);
    client.once('close', () => this.#sockets.delete(client));
    openTunnel(this.#deps, this.#spec, { request, client, head }, (tunnel) => {
      this.#tunnels.add(tunnel);
      return () => this.#tunnels.delete(tunnel);
    }).catch((err: unknown) => {
      this.#deps.log.error({ err, sessionId: this.#spec.sessionId }, 'tunnel of a sandbox failed');
      client.destroy();
    });
  }
}

/** What the parser refused: smuggled, malformed, too large, too slow. */
function answerError(err: NodeJS.ErrnoException, socket: Duplex | Socket): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const [status, reason] =
    err.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'The headers are too large.']
      : err.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'The request took too long to arrive.']
        : ['400 Bad Request', 'This is no proper HTTP/1.1 request.'];
  const text = `${reason}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${text.length}\r\nx-switchyard-gateway: refused\r\nconnection: close\r\n\r\n${text}`,
  );
}
