import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import fastifyCookie from '@fastify/cookie';
import fastifyRateLimit from '@fastify/rate-limit';
import fastify, { type FastifyInstance } from 'fastify';
import type { ChannelRoute } from '#core/inbox/channel-route.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { consoleRoutes } from './api/console-routes.ts';
import { browserSessions, sessionCookie } from './browser-session.ts';
import { type BoardQueue, boardRoutes } from './bull-board/board-routes.ts';
import type { ConsoleBackend } from './console-backend.ts';
import type { GatewayReads } from './gateway-store.ts';
import { type ChannelState, healthRoutes, type ProcessHealth, type ReadinessCheck } from './health-routes.ts';
import { hookRoutes } from './hook-routes.ts';
import { routeOf, sendError } from './http-error.ts';
import { laneRoutes } from './lane-routes.ts';
import { loginRoutes, requireSession } from './login-routes.ts';
import type { McpLoginDesk } from './mcp/login-desk.ts';
import { loginPages } from './mcp/login-pages.ts';
import { mcpRoutes } from './mcp/mcp-routes.ts';
import type { McpToolsDeps } from './mcp/mcp-tools.ts';
import { type OutboxDesk, outboxRoutes } from './outbox-routes.ts';
import { secureRequests } from './secure-requests.ts';
import type { WebBackend } from './web/web-backend.ts';
import { webRoutes } from './web/web-routes.ts';

export interface ServerDeps {
  readonly console: ConsoleBackend;
  readonly web: WebBackend;
  readonly queues: readonly BoardQueue[];
  readonly reads: GatewayReads;
  readonly outbox: OutboxDesk;
  readonly checks: readonly ReadinessCheck[];
  readonly channels?: () => readonly ChannelState[];
  readonly process?: () => ProcessHealth;
  /** Web hooks of the chat platforms. */
  readonly hooks: readonly ChannelRoute[];
  /** What programs outside may use over MCP, and logins of people at MCP servers. */
  readonly mcp?: { readonly tools: McpToolsDeps; readonly desk: McpLoginDesk };
  readonly log: Log;
  readonly clock?: Clock;
}

export interface ServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Who holds it may say and press anything in the console. */
  readonly operatorToken: string;
  /** Opens the pages in a browser. */
  readonly loginToken: string;
  /** Signs session cookies; kept over restarts. */
  readonly cookieKey: string;
  readonly signal: AbortSignal;
  /** Host names that are served besides the loopback ones; for a listener on a real interface an empty list is any. */
  readonly hostsAllowed?: readonly string[];
  /** Lets the dashboard change jobs. */
  readonly isBoardWritable?: boolean;
  readonly loginAttemptsMax?: number;
  /** Where we are reached from outside. */
  readonly publicUrl?: string;
  /** Requests one address may make over MCP in a minute. */
  readonly mcpRequestsPerMinute?: number;
  readonly heartbeatMs?: number;
  /** What a request may take to arrive whole; an upload over a slow line is the longest. */
  readonly arrivalMs?: number;
}

export interface Server extends AsyncDisposable {
  /** Where it listens, with the real port. */
  readonly url: string;
  readonly port: number;
}

const defaultLoginAttemptsMax = 5;
/** Several programs of one machine share an address. */
const defaultMcpRequestsPerMinute = 600;
/** Pages of logins at MCP servers that one address may open in a minute; nobody needs as many. */
const mcpLoginsPerMinute = 30;
/** Shorter than the idle limits of common proxies (30 to 60 s). */
const defaultHeartbeatMs = 15_000;
/** Twenty megabytes at one and a half megabits a second. Without an end, a few senders of a byte a minute hold every socket. */
const defaultArrivalMs = 120_000;
/** What requests in progress have to end when the server stops. */
const stopMs = 2_000;

/**
 * The gateway's HTTP server: health, console API, web chat, queue dashboard, lane pages. Stops when the signal aborts or when it
 * is disposed; open streams are ended first.
 * @throws AppError `config.invalid` when it cannot listen there.
 */
export async function startServer(deps: ServerDeps, options: ServerOptions): Promise<Server> {
  const stopping = new AbortController();
  const app = await buildApp(deps, options, AbortSignal.any([options.signal, stopping.signal]));
  const unused = trackUnused(app);
  const url = await listen(app, options);
  const stop = async (): Promise<void> => {
    stopping.abort();
    for (const socket of unused) socket.destroy();
    const cut = setTimeout(() => app.server.closeAllConnections(), stopMs);
    await app.close();
    clearTimeout(cut);
  };
  const onAbort = (): void => {
    stop().catch((err: unknown) => deps.log.warn({ err }, 'server did not stop cleanly'));
  };
  options.signal.addEventListener('abort', onAbort, { once: true });
  if (options.signal.aborted) onAbort();
  return {
    url,
    port: Number(new URL(url).port),
    [Symbol.asyncDispose]: async () => {
      options.signal.removeEventListener('abort', onAbort);
      await stop();
    },
  };
}

/** Connections that browsers open ahead and never used: closing waits for their first request unless they are cut. */
function trackUnused(app: FastifyInstance): ReadonlySet<Socket> {
  const unused = new Set<Socket>();
  app.server.on('connection', (socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  app.server.on('request', (request) => unused.delete(request.socket));
  return unused;
}

async function buildApp(deps: ServerDeps, options: ServerOptions, signal: AbortSignal): Promise<FastifyInstance> {
  const { log } = deps;
  const clock = deps.clock ?? systemClock;
  const arrivalMs = options.arrivalMs ?? defaultArrivalMs;
  const app = fastify({
    logger: false,
    bodyLimit: 64 * 1024,
    routerOptions: { maxParamLength: 200 },
    forceCloseConnections: 'idle',
    requestTimeout: arrivalMs,
    http: {
      headersTimeout: Math.min(arrivalMs, 60_000),
      connectionsCheckingInterval: Math.min(arrivalMs, 30_000),
    },
  });
  app.setErrorHandler((error, request, reply) => sendError(log, request, reply, error));
  app.setNotFoundHandler((request, reply) =>
    sendError(log, request, reply, new AppError('request.not_found', 'There is nothing at this address.')),
  );
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request;
    log.debug({ method, route: routeOf(request), status: reply.statusCode, ms: reply.elapsedTime }, 'request served');
  });
  // Forms are only used for the login.
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  );
  secureRequests(app, { host: options.host, hostsAllowed: options.hostsAllowed ?? [] });
  await app.register(fastifyCookie);
  await app.register(fastifyRateLimit, {
    global: false,
    errorResponseBuilder: (_request, { ttl }) =>
      new AppError('request.too_many', 'Too many requests.', {
        mend: `Wait ${Math.ceil(ttl / 1000)} s.`,
        retryAfterMs: ttl,
      }),
  });

  const sessions = browserSessions({ ...options, now: () => clock.now().getTime() });
  healthRoutes(app, deps);
  loginRoutes(app, { sessions, log }, { attemptsMax: options.loginAttemptsMax ?? defaultLoginAttemptsMax });
  const style = await readFile(path.join(import.meta.dirname, 'assets/style.css'), 'utf8');
  app.get('/assets/style.css', (_request, reply) =>
    reply.type('text/css; charset=utf-8').header('cache-control', 'max-age=300').send(style),
  );
  app.get('/', (request, reply) =>
    reply.redirect(sessions.isOpen(request.cookies[sessionCookie]) ? '/queues' : '/chat'),
  );
  await app.register(async (hooks) => hookRoutes(hooks, deps.hooks));
  await app.register(async (api) =>
    consoleRoutes(
      api,
      { ...deps, clock },
      { operatorToken: options.operatorToken, heartbeatMs: options.heartbeatMs ?? defaultHeartbeatMs, signal },
    ),
  );
  await app.register(async (chat) =>
    webRoutes(
      chat,
      { ...deps, clock },
      { cookieKey: options.cookieKey, sessions, heartbeatMs: options.heartbeatMs ?? defaultHeartbeatMs, signal },
    ),
  );
  const { mcp } = deps;
  if (mcp !== undefined) {
    const publicUrl = options.publicUrl?.replace(/\/$/, '');
    const requestsPerMinute = options.mcpRequestsPerMinute ?? defaultMcpRequestsPerMinute;
    await app.register(async (open) => mcpRoutes(open, mcp.tools, { publicUrl, requestsPerMinute }));
    await app.register(async (pages) => {
      loginPages(pages, { desk: mcp.desk, log }, { attemptsMax: mcpLoginsPerMinute });
    });
  }
  await app.register(async (pages) => {
    pages.addHook('onRequest', async (request, reply) => await requireSession(sessions, request, reply));
    outboxRoutes(pages, deps);
  });
  await app.register(async (pages) => {
    pages.addHook('onRequest', async (request, reply) => await requireSession(sessions, request, reply));
    laneRoutes(pages, deps);
    await boardRoutes(pages, deps, { isReadOnly: options.isBoardWritable !== true });
  });
  return app;
}

async function listen(app: FastifyInstance, options: ServerOptions): Promise<string> {
  const { host, port } = options;
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    await app.close();
    if (code === 'EADDRINUSE') {
      throw new AppError('config.invalid', `Port ${port} on ${host} is in use.`, {
        mend: 'Stop what listens there (perhaps another Switchyard), or set SWITCHYARD_PORT to another port.',
        cause,
      });
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new AppError('config.invalid', `This machine cannot listen on ${host} port ${port}.`, {
        mend: 'Set SWITCHYARD_HOST to an address of this machine and SWITCHYARD_PORT to a port above 1023.',
        cause,
      });
    }
    throw cause;
  }
}
