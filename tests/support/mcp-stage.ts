import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { type AgentProfile, agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { newId } from '#core/kit/ids.ts';
import { type McpServer, mcpServersSchema, toMcpServers } from '#core/mcp/mcp-server.ts';
import { openSealer } from '#core/mcp/open-sealer.ts';
import { type McpTool, selectTools } from '#core/mcp/tool-store.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import { createGuardedFetch } from '#workers/egress/guarded-fetch.ts';
import { McpServers } from '#workers/mcp/mcp-servers.ts';
import { createMcpTools } from '#workers/mcp/mcp-tools.ts';
import { type Logins, openLogins } from '#workers/mcp/open-logins.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import type { Tool, ToolContext, ToolResult } from '#workers/tools/tool.ts';
import type { TurnWork } from '#workers/turn/turn-deps.ts';
import { localSandbox } from '../fakes/mcp/local-sandbox.ts';
import { seedPerson, seedSession, seedTurn } from './asking-turn.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';

const log = pino({ level: process.env['MCP_TEST_LOG'] ?? 'silent' });
const dm: Conversation = { channel: 'telegram', account: 'bot', room: '1', kind: 'dm' };

/** The MCP clients of one worker over a database of their own, with servers as a project's file names them. */
export class McpStage implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly owner: string;
  readonly folder: string;
  readonly pipes = localSandbox();
  readonly credentials = new Map<string, string>();
  readonly learned: string[] = [];
  baseUrl: string | undefined = 'http://127.0.0.1:1';
  /** Programs of this machine, unless a test has containers. */
  openSandbox: (sessionId: string) => Promise<Sandbox> = async () => await Promise.resolve(this.pipes.sandbox);
  #workers: McpServers[] = [];

  private constructor(database: TestDatabase, owner: string) {
    this.database = database;
    this.owner = owner;
    this.folder = mkdtempSync(path.join(tmpdir(), 'sw-mcp-'));
  }

  static async open(): Promise<McpStage> {
    const database = await openTestDatabase(6);
    return new McpStage(database, await seedPerson(database, { name: 'Olga', role: 'owner', dm }));
  }

  /** A worker's clients for `mcp.servers`. */
  worker(setting: Readonly<Record<string, unknown>>, options: { readonly lookup?: typeof fetch } = {}): McpWorker {
    const servers = toMcpServers(mcpServersSchema.parse(setting), (folder) => path.resolve(this.folder, folder));
    const fetchFor = ({ allowsPrivate }: { readonly allowsPrivate: boolean }): typeof fetch =>
      options.lookup ??
      createGuardedFetch({
        ports: 'any',
        ...(allowsPrivate ? { allowsHttp: true, guard: createAddressGuard({ open: ['0.0.0.0/0', '::/0'] }) } : {}),
      });
    const { db } = this.database;
    const credentials = {
      resolve: async (name: string, use: { readonly host: string }) =>
        await Promise.resolve(`${this.credentials.get(name)} for ${use.host}`),
    };
    const kek = openFileKek({ file: path.join(this.folder, 'master.key'), mayCreate: true });
    const logins = openLogins({
      db,
      sealer: openSealer(kek),
      servers,
      fetchFor,
      credentials,
      baseUrl: () => this.baseUrl,
      learnSecret: ({ value }) => this.learned.push(value),
    });
    const clients = new McpServers({
      db,
      log,
      version: '0.0.0',
      servers,
      keptDirectory: path.join(this.folder, 'kept'),
      fetchFor,
      credentials,
      authFor: logins.authFor,
      serversOf: async () => await Promise.resolve([...servers.keys()]),
      ownTools: ['exec', 'read_file'],
    });
    this.#workers.push(clients);
    return new McpWorker(this, servers, clients, logins);
  }

  async session(): Promise<string> {
    return await seedSession(this.database, dm);
  }

  /** A turn of a session, for the owner. */
  async turn(sessionId: string, personId: string | undefined = this.owner): Promise<TurnWork> {
    const turnId = newId();
    await seedTurn(this.database, { sessionId, turnId, waitingFor: 'person', origin: dm });
    const origin = personId === undefined ? dm : { ...dm, personId };
    return {
      turnId,
      sessionId,
      kind: 'message',
      agentName: 'tester',
      agentVersion: '1',
      origin,
      messages: [],
      attempts: 1,
      crashes: 0,
    };
  }

  /** What was said in private to the owner, the newest last. */
  async said(): Promise<string[]> {
    const rows = await this.database.query<{ body: { parts: { markdown?: string }[] } }>(
      'select body from outbox order by id',
    );
    return rows.map(({ body }) => body.parts.map((part) => part.markdown ?? '').join('\n'));
  }

  async known(server: string): Promise<McpTool[]> {
    return await selectTools(this.database.db, [server]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) await worker[Symbol.asyncDispose]();
    this.pipes.killAll();
    await this.database[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class McpWorker {
  readonly servers: ReadonlyMap<string, McpServer>;
  readonly clients: McpServers;
  readonly logins: Logins;
  readonly #stage: McpStage;
  readonly #toolsOf: ReturnType<typeof createMcpTools>;
  readonly progress: string[] = [];

  constructor(stage: McpStage, servers: ReadonlyMap<string, McpServer>, clients: McpServers, logins: Logins) {
    this.#stage = stage;
    this.servers = servers;
    this.clients = clients;
    this.logins = logins;
    this.#toolsOf = createMcpTools({
      db: stage.database.db,
      log,
      servers: clients,
      openSandbox: async (_agent, { sessionId }) => await stage.openSandbox(sessionId),
    });
  }

  get agent(): AgentProfile {
    return {
      ...agentFrontMatterSchema.parse({ name: 'tester', description: 'x', mcp: [...this.servers.keys()] }),
      prompt: 'Help.',
      version: '1',
      source: 'tester.md',
    };
  }

  async tools(work: TurnWork): Promise<ReadonlyMap<string, Tool>> {
    return await this.#toolsOf(this.agent, work);
  }

  /** Looks at a server without an agent, as the command line does. */
  async look(name: string): Promise<readonly McpTool[]> {
    const sessionId = newId();
    const session = {
      sessionId,
      agentName: 'tester',
      personId: this.#stage.owner,
      sandbox: async () => await this.#stage.openSandbox(sessionId),
    };
    return await this.clients.look(this.clients.require(name), session, AbortSignal.timeout(50_000));
  }

  /** Runs a tool as a turn does: arguments are checked, errors are text. */
  async call(
    work: TurnWork,
    name: string,
    args: unknown,
    options: { readonly signal?: AbortSignal; readonly callKey?: string } = {},
  ): Promise<ToolResult> {
    const tool = (await this.tools(work)).get(name);
    if (tool === undefined) throw new Error(`there is no tool ${name}`);
    const parsed = tool.parameters.safeParse(args);
    if (!parsed.success) return { text: parsed.error.issues.map(({ message }) => message).join('; '), isError: true };
    const context: ToolContext = {
      sessionId: work.sessionId,
      turnId: work.turnId,
      callKey: options.callKey ?? '1:call',
      agent: this.agent,
      origin: work.origin,
      signal: options.signal ?? AbortSignal.timeout(50_000),
      sandbox: async () => await this.#stage.openSandbox(work.sessionId),
      progress: (text) => this.progress.push(text),
    };
    try {
      return await tool.run(parsed.data, context);
    } catch (err) {
      return { text: err instanceof Error ? err.message : String(err), isError: true };
    }
  }
}
