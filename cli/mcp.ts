import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { describeBytes } from '#core/files/file-name.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { decideTools, forgetTools } from '#core/mcp/decide-tools.ts';
import { selectGrantHolders, selectGrants } from '#core/mcp/login-store.ts';
import type { McpServer, RemoteServer } from '#core/mcp/mcp-server.ts';
import { describeFlag, diffDefinitions, visibleText } from '#core/mcp/tool-pin.ts';
import { type McpTool, selectServers, selectTools } from '#core/mcp/tool-store.ts';
import type { CliDeps, McpDesk } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { addMcpTokens } from './mcp-tokens.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const loginPollMs = 1_000;
const loginWaitMs = 10 * 60_000;

/** Commands about MCP: servers agents use, their tools and logins, and tokens for programs that use us. */
export function addMcp(program: Command, deps: CliDeps): void {
  const mcp = program.command('mcp').description('MCP servers agents use, and tokens for programs that use us');
  addLooking(mcp, deps);
  addDeciding(mcp, deps);
  addLogins(mcp, deps);
  addMcpTokens(mcp, deps);
}

function addLooking(mcp: Command, deps: CliDeps): void {
  const { terminal } = deps;
  mcp
    .command('list')
    .description('show the servers of the project, their tools and who is logged in')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const desk = await deps.openMcp(db);
      const { servers } = desk;
      const names = [...servers.keys()];
      const [records, tools, logins] = await Promise.all([
        selectServers(db, names),
        selectTools(db, names),
        selectGrantHolders(db),
      ]);
      const lines = [...servers.values()].map((server) => {
        const record = records.find(({ name }) => name === server.name);
        const own = tools.filter((tool) => tool.server === server.name);
        return {
          name: server.name,
          kind: server.kind,
          place: server.kind === 'remote' ? server.url : server.command.join(' '),
          approved: own.filter(({ state }) => state === 'approved').length,
          waiting: own.filter(({ state }) => state === 'new' || state === 'changed').length,
          listedAt: record?.listedAt,
          problem: record?.problem,
          loggedIn: logins
            .filter(({ resource }) => server.kind === 'remote' && resource === server.url)
            .map(({ personName }) => personName),
        };
      });
      const kept = await desk.keptFiles();
      if (options.json === true) return printJson(terminal, { servers: lines, kept });
      if (lines.length === 0) {
        printLine(terminal, 'switchyard.yaml names no MCP servers.');
        return printKept(deps, kept);
      }
      printTable(
        terminal,
        ['NAME', 'APPROVED', 'WAITING', 'LOOKED AT', 'LOGGED IN', 'WHERE'],
        lines.map((line) => [
          line.name,
          String(line.approved),
          String(line.waiting),
          line.listedAt === undefined ? 'never' : formatTime(line.listedAt),
          line.loggedIn.join(', '),
          line.place,
        ]),
      );
      for (const { name, problem } of lines) if (problem !== undefined) printLine(terminal, `${name}: ${problem}`);
      printKept(deps, kept);
    });
  mcp
    .command('check')
    .description('connect to a server and write down what it lists')
    .argument('<server>')
    .action(async (name: string) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const desk = await deps.openMcp(db);
      const tools = await desk.check(requireServer(desk, name), await operatorId(db), deps.signal);
      printTools(deps, tools);
    });
  mcp
    .command('tools')
    .description("show a server's tools whole, with what changed since they were approved")
    .argument('<server>')
    .option('--json', 'print one JSON object')
    .action(async (name: string, options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const desk = await deps.openMcp(database.db);
      const tools = await selectTools(database.db, [requireServer(desk, name).name]);
      if (options.json === true) return printJson(terminal, { tools });
      if (tools.length === 0)
        return printLine(terminal, `Nothing is known of ${name} yet: ./switchyard mcp check ${name}`);
      for (const tool of tools) printWhole(deps, tool);
    });
}

/** Copies of servers' files that take space, and when those that nobody uses go. */
function printKept({ terminal }: CliDeps, kept: Awaited<ReturnType<McpDesk['keptFiles']>>): void {
  for (const { server, bytes, usedAt, removedAt } of kept) {
    const when = `last used ${formatTime(usedAt)}, removed ${formatTime(removedAt)} unless it is used again`;
    printLine(terminal, `A copy of the files of ${server} is kept here: ${describeBytes(bytes)}, ${when}.`);
  }
}

function addDeciding(mcp: Command, deps: CliDeps): void {
  const decide = async (name: string, wanted: readonly string[], all: boolean, isApproved: boolean): Promise<void> => {
    if (wanted.length > 0 === all) {
      throw new AppError('command.invalid', 'Give the names of tools, or --all.', {
        mend: `See ./switchyard mcp tools ${name}.`,
      });
    }
    await using database = await deps.openDatabase();
    const { db } = database;
    const server = requireServer(await deps.openMcp(db), name).name;
    const tools = await selectTools(db, [server]);
    const stranger = wanted.find((item) => !tools.some((tool) => tool.name === item));
    if (stranger !== undefined) {
      throw new AppError('tool.unknown', `${name} has no tool "${stranger.slice(0, 80)}".`, {
        mend: `See ./switchyard mcp tools ${name}.`,
      });
    }
    const chosen = tools.filter((tool) => all || wanted.includes(tool.name));
    const decision = {
      server,
      tools: chosen.map((tool) => ({ name: tool.name, digest: tool.digest })),
      isApproved,
      personId: await operatorId(db),
      via: 'cli',
    };
    const decided = await db.transaction().execute(async (tx) => await decideTools(tx, decision));
    printLine(
      deps.terminal,
      decided.length === 0 ? 'Nothing to decide.' : `${isApproved ? 'Approved' : 'Refused'}: ${decided.join(', ')}.`,
    );
  };
  mcp
    .command('approve')
    .description('let agents use tools, each exactly as it is listed now')
    .argument('<server>')
    .argument('[tools...]')
    .option('--all', 'every tool that waits')
    .action(async (name: string, tools: string[], options: { all?: true }) => {
      await decide(name, tools, options.all === true, true);
    });
  mcp
    .command('refuse')
    .description('keep tools from agents')
    .argument('<server>')
    .argument('[tools...]')
    .option('--all', 'every tool that waits')
    .action(async (name: string, tools: string[], options: { all?: true }) => {
      await decide(name, tools, options.all === true, false);
    });
  mcp
    .command('forget')
    .description('forget what was decided about a tool, or about all of a server')
    .argument('<server>')
    .argument('[tool]')
    .action(async (name: string, tool: string | undefined) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const choice = { server: name, tool, personId: await operatorId(db) };
      const names = await db.transaction().execute(async (tx) => await forgetTools(tx, choice));
      printLine(deps.terminal, names.length === 0 ? 'Nothing was known.' : `Forgotten: ${names.join(', ')}.`);
    });
}

function addLogins(mcp: Command, deps: CliDeps): void {
  const { terminal } = deps;
  mcp
    .command('login')
    .description('log in at a server, as the owner')
    .argument('<server>')
    .action(async (name: string) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const desk = await deps.openMcp(db);
      const server = requireLogin(desk, name);
      // The page the browser comes back to is the gateway's.
      deps.findGateway();
      const personId = await operatorId(db);
      const before = await newestGrant(db, personId, server);
      printLine(terminal, 'Open this page within ten minutes:');
      printLine(terminal, await desk.begin(server, personId));
      const until = Date.now() + loginWaitMs;
      while (!deps.signal.aborted && Date.now() < until) {
        if ((await newestGrant(db, personId, server)) !== before) return printLine(terminal, `Logged in at ${name}.`);
        await delay(loginPollMs, undefined, { signal: deps.signal }).catch(() => undefined);
      }
      throw new AppError('mcp.login_failed', 'Nobody logged in.', { mend: 'Run the command again for a new link.' });
    });
  mcp
    .command('logout')
    .description('forget the login of the owner at a server')
    .argument('<server>')
    .action(async (name: string) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const desk = await deps.openMcp(db);
      const hadAny = await desk.logout(requireLogin(desk, name), await operatorId(db));
      printLine(terminal, hadAny ? `Logged out of ${name}.` : `Nobody was logged in at ${name}.`);
    });
}

async function newestGrant(db: Db, personId: string, server: RemoteServer): Promise<number | undefined> {
  const [grant] = await selectGrants(db, personId, server.url);
  return grant?.updatedAt.getTime();
}

function requireServer(desk: McpDesk, name: string): McpServer {
  const server = desk.servers.get(name);
  if (server !== undefined) return server;
  throw new AppError('mcp.unknown', `There is no MCP server "${name.slice(0, 60)}".`, {
    mend: 'Servers are named under mcp.servers in switchyard.yaml; see ./switchyard mcp list.',
  });
}

function requireLogin(desk: McpDesk, name: string): RemoteServer {
  const server = requireServer(desk, name);
  if (server.kind === 'remote' && server.auth.kind === 'oauth') return server;
  throw new AppError('command.invalid', `Nobody logs in at ${name}.`, {
    mend: 'Logins are for servers with auth: oauth.',
  });
}

function printTools(deps: CliDeps, tools: readonly McpTool[]): void {
  if (tools.length === 0) {
    printLine(deps.terminal, 'The server lists no tools that agents may see.');
    return;
  }
  printTable(
    deps.terminal,
    ['TOOL', 'STATE', 'ODD'],
    tools.map((tool) => [visibleText(tool.name), tool.state, tool.flags.map(describeFlag).join('; ')]),
  );
}

function printWhole({ terminal }: CliDeps, tool: McpTool): void {
  const by = tool.decidedByName === undefined ? '' : ` (by ${tool.decidedByName})`;
  printLine(terminal, `${visibleText(tool.name)}: ${tool.state}${by}`);
  for (const flag of tool.flags) printLine(terminal, `  It ${describeFlag(flag)}.`);
  const before = tool.state === 'changed' ? tool.approvedDefinition : undefined;
  for (const line of diffDefinitions(before, tool.definition)) printLine(terminal, `  ${line}`);
  if (tool.state === 'changed' && diffDefinitions(before, tool.definition).length === 0) {
    printLine(terminal, '  The description is the same; the address or the code of the server is not.');
  }
  printLine(terminal);
}
