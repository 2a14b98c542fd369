import path from 'node:path';
import {
  type AuthProvider,
  type PriorDiscovery,
  StreamableHTTPClientTransport,
  type Transport,
} from '@modelcontextprotocol/client';
import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { sha256 } from '#core/kit/ids.ts';
import { canonicalJson } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { McpServer, RemoteServer, StdioServer } from '#core/mcp/mcp-server.ts';
import { noteTools } from '#core/mcp/note-tools.ts';
import { plainName, readTool, type SeenTool } from '#core/mcp/tool-pin.ts';
import { type McpTool, markProblem, selectServers, selectTools, updateVerdict } from '#core/mcp/tool-store.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import type { EgressJournal } from '../egress/egress-journal.ts';
import type { PrepareSandboxFolder, Sandbox } from '../sandbox/sandbox.ts';
import { McpConnection } from './mcp-connection.ts';
import { toMcpError } from './mcp-error.ts';
import { markUsed, pruneServerFiles } from './prune-server-files.ts';
import { recordedFetch } from './recorded-fetch.ts';
import { SandboxTransport } from './sandbox-transport.ts';
import { keepServerFiles, placeServerFiles, type ServerFiles } from './server-files.ts';

/** A server that failed is left alone this long, doubled with each failure in a row. */
const backOffMs = 1_000;
const backOffMaxMs = 60_000;
/** A connection nobody used for this long is closed. */
const idleMs = 15 * 60_000;
const connectionsMax = 200;
/** How often a worker says which files it uses and removes those nobody does: far more often than they are kept. */
const pruneMs = 6 * 3_600_000;
/** An old server may be upgraded: after this long it is asked again which protocol it speaks. */
const legacyVerdictMs = 24 * 3_600_000;

/** For whom a server works. */
export interface McpSession {
  readonly sessionId: string;
  readonly agentName: string;
  readonly personId: string | undefined;
  sandbox(): Promise<Sandbox>;
}

export interface McpServersDeps {
  readonly db: Db;
  readonly log: Log;
  readonly version: string;
  readonly servers: ReadonlyMap<string, McpServer>;
  /** Where the files of servers are kept, on the file system of the sandboxes' folders. */
  readonly keptDirectory: string;
  readonly fetchFor: (server: RemoteServer) => typeof fetch;
  /** Bounds and record of what goes out for sessions; none where nobody works, as on the command line. */
  readonly journal?: Pick<EgressJournal, 'admit' | 'spend' | 'record'>;
  readonly credentials: CredentialSource;
  /** Signs a person in at a server with OAuth; see `openLogins`. */
  readonly authFor: (server: RemoteServer, personId: string | undefined) => AuthProvider;
  /** The servers an agent lists. */
  readonly serversOf: (agentName: string) => Promise<readonly string[]>;
  /** Names of the tools the product has itself. */
  readonly ownTools: readonly string[];
}

interface Slot {
  connection: Promise<McpConnection> | undefined;
  failures: number;
  retryAt: number;
}

const verdictSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('legacy'), at: z.number() }),
  z.object({ kind: z.literal('modern'), at: z.number(), discover: z.looseObject({}) }),
]);

/**
 * The clients of this worker: one for each server, session and person, kept over the turns of a session. What a server
 * lists is compared with what was approved before the first call and again whenever it may have changed.
 */
export class McpServers implements AsyncDisposable {
  readonly #deps: McpServersDeps;
  readonly #slots = new Map<string, Slot>();
  readonly #files = new Map<string, Promise<ServerFiles>>();
  readonly #verdicts = new Map<string, PriorDiscovery>();
  readonly #sweep: NodeJS.Timeout;
  #prunedAt = 0;

  constructor(deps: McpServersDeps) {
    this.#deps = deps;
    this.#sweep = setInterval(() => {
      this.#closeIdle();
      if (Date.now() - this.#prunedAt >= pruneMs) void this.pruneFiles(new Date());
    }, 60_000);
    this.#sweep.unref();
  }

  /** The server of this name. @throws AppError `mcp.unknown`. */
  require(name: string): McpServer {
    const server = this.#deps.servers.get(name);
    if (server !== undefined) return server;
    throw new AppError('mcp.unknown', `There is no MCP server "${name}".`, {
      mend: 'Servers are named under mcp.servers in switchyard.yaml.',
    });
  }

  /** What a server is: of another address, or of other code, nothing that was approved is valid. */
  async sourceOf(server: McpServer): Promise<string> {
    if (server.kind === 'remote') return sha256(canonicalJson({ url: server.url }));
    const files = await this.#filesOf(server);
    const { command, environment } = server;
    return sha256(canonicalJson({ command, environment, files: files?.digest }));
  }

  /**
   * A client that is connected and whose list was compared not long ago.
   * @returns the client, and the tools as they are known now.
   * @throws AppError `mcp.unavailable`, `mcp.timeout`, `mcp.login_needed`, `sandbox.*`, `egress.*`.
   */
  async use(
    server: McpServer,
    session: McpSession,
    signal: AbortSignal,
  ): Promise<{ readonly connection: McpConnection; readonly tools: readonly McpTool[] }> {
    const connection = await this.#connect(server, session, signal);
    if (!connection.isStale) return { connection, tools: await selectTools(this.#deps.db, [server.name]) };
    const entries = await connection.list(signal).catch((err: unknown) => Promise.reject(toMcpError(server.name, err)));
    return { connection, tools: await this.#note(server, entries) };
  }

  /** Looks at a server that may never have been seen, and writes down what it lists or why it could not be read. */
  async look(server: McpServer, session: McpSession, signal: AbortSignal): Promise<readonly McpTool[]> {
    try {
      return (await this.use(server, session, signal)).tools;
    } catch (err) {
      if (isAppError(err) && err.isForChat && !signal.aborted) {
        await markProblem(this.#deps.db, server.name, await this.sourceOf(server), err.text);
      }
      throw err;
    }
  }

  /** Puts the files of an agent's servers into its container. */
  readonly prepareFolder: PrepareSandboxFolder = async (spec, directory) => {
    if (spec.kind === 'browser') return;
    for (const name of await this.#deps.serversOf(spec.agent)) {
      const server = this.#deps.servers.get(name);
      if (server?.kind !== 'stdio') continue;
      await this.placeFiles(server, directory).catch((err: unknown) => {
        // Its tools fail and say so; the agent's other hands are not to be missed for it.
        this.#deps.log.warn({ err, server: name }, 'the files of an mcp server are missing');
      });
    }
  };

  /** Puts the files of one server into a container's folder. */
  async placeFiles(server: StdioServer, directory: string): Promise<void> {
    const target = path.join(directory, 'mcp', server.name);
    const files = await this.#filesOf(server);
    if (files === undefined) return;
    try {
      await placeServerFiles(files, target);
    } catch (err) {
      if (await markUsed(files.folder)) throw err;
      // Another worker held it for unused.
      this.#files.delete(server.name);
      const again = await this.#filesOf(server);
      if (again !== undefined) await placeServerFiles(again, target);
    }
  }

  /** Says which files this worker uses, and removes copies that no worker has used for days. Never fails. */
  async pruneFiles(now: Date): Promise<void> {
    const { log, keptDirectory } = this.#deps;
    this.#prunedAt = now.getTime();
    try {
      for (const [name, keeping] of this.#files) {
        const files = await keeping.catch(() => undefined);
        if (files !== undefined && !(await markUsed(files.folder))) this.#files.delete(name);
      }
      const gone = await pruneServerFiles(keptDirectory, now);
      if (gone.length > 0) log.info({ folders: gone }, 'unused files of mcp servers removed');
    } catch (err) {
      log.warn({ err }, 'unused files of mcp servers cannot be removed');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweep);
    const open = [...this.#slots.values()].flatMap(({ connection }) => connection ?? []);
    this.#slots.clear();
    await Promise.allSettled(open.map(async (opening) => await (await opening)[Symbol.asyncDispose]()));
  }

  async #note(server: McpServer, entries: readonly unknown[]): Promise<readonly McpTool[]> {
    const { db, log, servers, ownTools } = this.#deps;
    const others = await selectTools(
      db,
      [...servers.keys()].filter((name) => name !== server.name),
    );
    const taken = new Set([...ownTools, ...others.map(({ name }) => name)].map(plainName));
    const source = await this.sourceOf(server);
    const seen = new Map<string, SeenTool>();
    for (const entry of entries) {
      const tool = readTool(entry, source, taken);
      // Of two entries with one name the second would replace what was looked at.
      if (tool !== undefined && !seen.has(tool.name)) seen.set(tool.name, tool);
      else log.warn({ server: server.name }, 'an entry of a tool list was passed over');
    }
    return await noteTools(db, server, source, [...seen.values()]);
  }

  async #connect(server: McpServer, session: McpSession, signal: AbortSignal): Promise<McpConnection> {
    const key = keyOf(server, session);
    const slot = this.#slots.get(key) ?? { connection: undefined, failures: 0, retryAt: 0 };
    this.#slots.set(key, slot);
    // Two turns of one session never run at once, but two calls of one answer may: what another one opens is awaited.
    for (let pending = slot.connection; pending !== undefined; pending = slot.connection) {
      const known = await pending.catch(() => undefined);
      if (known?.isOpen === true) {
        known.usedAt = Date.now();
        return known;
      }
      if (slot.connection === pending) slot.connection = undefined;
    }
    const waitMs = slot.retryAt - Date.now();
    if (waitMs > 0) {
      throw new AppError('mcp.unavailable', `The MCP server "${server.name}" failed a moment ago.`, {
        mend: `It is tried again in ${Math.ceil(waitMs / 1000)} s.`,
        retryAfterMs: waitMs,
      });
    }
    const opening = this.#open(server, session, key, signal);
    slot.connection = opening;
    try {
      const connection = await opening;
      slot.failures = 0;
      return connection;
    } catch (err) {
      if (slot.connection === opening) slot.connection = undefined;
      // Who has to log in may do so at once; a cancelled turn says nothing of the server.
      if (!isAppError(err, 'mcp.login_needed') && !signal.aborted) {
        slot.retryAt = Date.now() + Math.min(backOffMaxMs, backOffMs * 2 ** slot.failures);
        slot.failures += 1;
      }
      throw err;
    }
  }

  async #open(server: McpServer, session: McpSession, key: string, signal: AbortSignal): Promise<McpConnection> {
    if (this.#slots.size > connectionsMax) this.#closeOldest();
    const prior = await this.#priorOf(server, key);
    try {
      return await this.#dial(server, session, key, prior, signal);
    } catch (err) {
      if (signal.aborted || isAppError(err, 'mcp.login_needed')) throw err;
      // What was remembered may be out of date; a server that ends when it is asked is one of the old protocol.
      if (prior !== undefined) return await this.#dial(server, session, key, undefined, signal);
      if (server.kind !== 'stdio') throw err;
      return await this.#dial(server, session, key, { kind: 'legacy' }, signal);
    }
  }

  async #dial(
    server: McpServer,
    session: McpSession,
    key: string,
    prior: PriorDiscovery | undefined,
    signal: AbortSignal,
  ): Promise<McpConnection> {
    const transport = await this.#transportTo(server, session);
    const connection = new McpConnection(transport, {
      version: this.#deps.version,
      onClosed: () => this.#deps.log.debug({ server: server.name, sessionId: session.sessionId }, 'mcp client closed'),
    });
    let verdict: PriorDiscovery;
    try {
      verdict = await connection.open(prior, signal);
    } catch (err) {
      await connection[Symbol.asyncDispose]();
      const said = transport instanceof SandboxTransport ? transport.diagnostics : '';
      if (said !== '')
        this.#deps.log.info({ server: server.name, said: said.slice(-1_000) }, 'an mcp server complained');
      throw toMcpError(server.name, err);
    }
    await this.#remember(server, key, verdict);
    return connection;
  }

  async #transportTo(server: McpServer, session: McpSession): Promise<Transport> {
    if (server.kind === 'stdio') return new SandboxTransport(await session.sandbox(), server);
    const url = new URL(server.url);
    return new StreamableHTTPClientTransport(url, {
      fetch: withoutStreams(this.#fetchFor(server, session)),
      redirectPolicy: 'same-origin',
      onInsufficientScope: 'throw',
      reconnectionOptions: {
        maxRetries: 0,
        initialReconnectionDelay: 1_000,
        maxReconnectionDelay: 1_000,
        reconnectionDelayGrowFactor: 1,
      },
      ...this.#authOf(server, session, url),
    });
  }

  #fetchFor(server: RemoteServer, session: McpSession): typeof fetch {
    const { fetchFor, journal } = this.#deps;
    return journal === undefined ? fetchFor(server) : recordedFetch(fetchFor(server), journal, session);
  }

  #authOf(server: RemoteServer, session: McpSession, url: URL): { readonly authProvider?: AuthProvider } {
    const { auth } = server;
    switch (auth.kind) {
      case 'none':
        return {};
      case 'credential': {
        const use = { agent: session.agentName, host: url.hostname.toLowerCase().replace(/\.$/, '') };
        return { authProvider: { token: async () => await this.#deps.credentials.resolve(auth.name, use) } };
      }
      case 'oauth':
        return { authProvider: this.#deps.authFor(server, session.personId) };
    }
  }

  async #priorOf(server: McpServer, key: string): Promise<PriorDiscovery | undefined> {
    const known = this.#verdicts.get(key);
    if (known !== undefined || isPersonal(server)) return known;
    const [record] = await selectServers(this.#deps.db, [server.name]);
    const verdict = verdictSchema.safeParse(record?.verdict).data;
    if (verdict === undefined || record?.source !== (await this.sourceOf(server))) return undefined;
    if (verdict.kind === 'legacy') return Date.now() - verdict.at < legacyVerdictMs ? { kind: 'legacy' } : undefined;
    return { kind: 'modern', discover: verdict.discover } as PriorDiscovery;
  }

  async #remember(server: McpServer, key: string, verdict: PriorDiscovery): Promise<void> {
    const isKnown = this.#verdicts.get(key)?.kind === verdict.kind;
    this.#verdicts.set(key, verdict);
    // What a server says of itself to one person is not told to the others.
    if (isKnown || isPersonal(server)) return;
    await updateVerdict(this.#deps.db, server.name, await this.sourceOf(server), { ...verdict, at: Date.now() });
  }

  async #filesOf(server: StdioServer): Promise<ServerFiles | undefined> {
    if (server.files === undefined) return undefined;
    const known = this.#files.get(server.name);
    if (known !== undefined) return await known;
    const keeping = keepServerFiles(server.files, path.join(this.#deps.keptDirectory, server.name));
    this.#files.set(server.name, keeping);
    keeping.catch(() => this.#files.delete(server.name));
    return await keeping;
  }

  #closeIdle(): void {
    for (const [key, slot] of this.#slots) {
      void slot.connection?.then(
        async (connection) => {
          if (connection.isOpen && Date.now() - connection.usedAt < idleMs) return;
          if (this.#slots.get(key) === slot && slot.retryAt < Date.now()) this.#slots.delete(key);
          this.#verdicts.delete(key);
          await connection[Symbol.asyncDispose]();
        },
        () => undefined,
      );
      if (slot.connection === undefined && slot.retryAt < Date.now() - backOffMaxMs) this.#slots.delete(key);
    }
  }

  #closeOldest(): void {
    const oldest = this.#slots.entries().next().value;
    if (oldest === undefined) return;
    const [key, slot] = oldest;
    this.#slots.delete(key);
    void slot.connection?.then(
      async (connection) => await connection[Symbol.asyncDispose](),
      () => undefined,
    );
  }
}

/** Whether a server answers each person differently. */
function isPersonal(server: McpServer): boolean {
  return server.kind === 'remote' && server.auth.kind !== 'none';
}

function keyOf(server: McpServer, session: McpSession): string {
  const person = server.kind === 'remote' && server.auth.kind === 'oauth' ? (session.personId ?? '') : '';
  return [server.name, session.sessionId, session.agentName, person].join('\n');
}

/**
 * Answers the request for a standing stream of events with a no: it would be one open connection for each session, and
 * what it could tell is found out by reading the list again.
 */
function withoutStreams(inner: typeof fetch): typeof fetch {
  return async (input, init) =>
    (init?.method ?? 'GET') === 'GET' &&
    new Headers(init?.headers).get('accept')?.includes('text/event-stream') === true
      ? new Response(null, { status: 405 })
      : await inner(input, init);
}
