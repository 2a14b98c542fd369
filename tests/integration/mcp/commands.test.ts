import { mkdir, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadProjectAgents } from '#app/load-project-agents.ts';
import type { CliDeps } from '#cli/cli-deps.ts';
import { runProgram } from '#cli/run-program.ts';
import { newId } from '#core/kit/ids.ts';
import { type OAuthFake, startOAuth } from '#tests/fakes/mcp/oauth-server.ts';
import { toolServer, toolServerState } from '#tests/fakes/mcp/tool-server.ts';
import { eventually } from '#tests/support/eventually.ts';
import { McpStage, type McpWorker } from '#tests/support/mcp-stage.ts';

import { keptFilesMs, listServerFiles } from '#workers/mcp/prune-server-files.ts';

const repository = path.resolve(import.meta.dirname, '../../..');

let stage: McpStage;
let fake: OAuthFake;
let worker: McpWorker;
let output: string;
beforeEach(async () => {
  stage = await McpStage.open();
  fake = await startOAuth(toolServer(toolServerState()));
  worker = stage.worker({
    fake: { url: fake.mcpUrl, allow_private: true, auth: 'oauth' },
    pipe: {
      command: [process.execPath, path.join(repository, 'tests/fakes/mcp/lying-server.main.ts'), 'odd names'],
    },
  });
});
afterEach(async () => {
  await fake[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

/** Runs a command as the operator, who is the owner of the stage. @returns its exit code; `output` has the rest. */
async function run(...argv: string[]): Promise<number> {
  output = '';
  const refuse = () => {
    throw new Error('this command was not to use that');
  };
  const { db } = stage.database;
  const terminal = { write: (text: string) => (output += text) };
  const deps: CliDeps = {
    version: '1.2.3',
    installDir: repository,
    terminal: { stdout: terminal, stderr: terminal, hasColour: false },
    signal: AbortSignal.timeout(30_000),
    start: refuse,
    diagnose: refuse,
    readSettings: refuse,
    findGateway: () => ({ url: 'http://127.0.0.1:1', token: 't', dataDir: stage.folder }),
    listTools: refuse,
    slackManifest: refuse,
    readVariables: refuse,
    describeInvalid: refuse,
    openQuestions: refuse,
    readStdin: refuse,
    openKek: refuse,
    openSkills: refuse,
    testSkill: refuse,
    listHooks: refuse,
    checkImage: refuse,
    readBill: refuse,
    openSandboxes: refuse,
    loadAgents: async () => await loadProjectAgents({ agentsDir: path.join(repository, 'agents') }),
    openDatabase: async () => ({ db, [Symbol.asyncDispose]: async () => undefined }),
    openMcp: async () => ({
      servers: worker.servers,
      check: async (server) => await worker.look(server.name),
      begin: worker.logins.begin,
      logout: worker.logins.logout,
      keptFiles: async () => {
        const kept = await listServerFiles(path.join(stage.folder, 'kept'));
        return kept.map((copy) => ({ ...copy, removedAt: new Date(copy.usedAt.getTime() + keptFilesMs) }));
      },
    }),
  };
  return await runProgram(deps, argv, { showStack: false });
}

test('a server is looked at, its tools are shown whole, allowed, refused and forgotten', async () => {
  expect(await run('mcp', 'check', 'pipe')).toBe(0);
  expect(output).toMatch(/safe +new/);
  expect(output).toMatch(/exec +new +has the name of a tool that exists already/);
  expect(output).not.toMatch(/[\p{Cf}\u001b]/u);
  expect(await run('mcp', 'tools', 'pipe')).toBe(0);
  expect(output).toContain('‹U+E0049›');
  expect(await run('mcp', 'approve', 'pipe', 'safe')).toBe(0);
  expect(output).toBe('Approved: safe.\n');
  expect(await run('mcp', 'refuse', 'pipe', '--all')).toBe(0);
  expect(output).toContain('exec');
  expect(output).not.toContain('safe');
  await run('mcp', 'list', '--json');
  expect(JSON.parse(output)).toMatchObject({
    servers: [
      { name: 'fake', approved: 0 },
      { name: 'pipe', approved: 1, waiting: 0 },
    ],
  });
  expect(await run('mcp', 'forget', 'pipe', 'safe')).toBe(0);
  expect(output).toBe('Forgotten: safe.\n');
  expect((await stage.known('pipe')).map(({ name }) => name)).not.toContain('safe');
});

test.each([
  [['mcp', 'check', 'nothing'], /no MCP server "nothing"/],
  [['mcp', 'approve', 'pipe'], /names of tools, or --all/],
  [['mcp', 'approve', 'pipe', 'nothing'], /has no tool "nothing"/],
  [['mcp', 'login', 'pipe'], /Nobody logs in at pipe/],
  [['mcp', 'token', 'create', '--name', 'x', '--scope', 'runs:write,all'], /no scope "all"/],
  [['mcp', 'token', 'create', '--name', 'x', '--scope', 'runs:write', '--expires', '9999d'], /no span of time/],
  [['mcp', 'token', 'create', '--name', 'x', '--scope', 'runs:write', '--agent', 'nobody'], /no agent "nobody"/],
  [['mcp', 'token', 'create', '--name', '$(x)', '--scope', 'runs:write'], /A name is/],
  [['mcp', 'token', 'revoke', 'nothing'], /no token "nothing" in force/],
])('%j is refused with the reason', async (argv, reason) => {
  expect(await run(...argv)).not.toBe(0);
  expect(output).toMatch(reason);
});

test('a login waits for the browser, and a logout forgets it', async () => {
  const running = run('mcp', 'login', 'fake');
  const link = await eventually(() => {
    const found = /\/mcp\/login\/([\w-]+)/.exec(output)?.[1];
    if (found === undefined) throw new Error('no link yet');
    return found;
  });
  const confirmed = await worker.logins.confirm(link);
  const back = await fake.authorize(confirmed?.url ?? '');
  await worker.logins.finish(new URL(back).searchParams, confirmed?.browser);
  expect(await running).toBe(0);
  expect(output).toMatch(/Logged in at fake\.\n$/);
  expect(await run('mcp', 'list')).toBe(0);
  expect(output).toMatch(/fake .*Olga/);
  expect(await run('mcp', 'logout', 'fake')).toBe(0);
  expect(output).toBe('Logged out of fake.\n');
});

test('a token is shown once, its name is taken until it is revoked', async () => {
  const name = `ci ${newId().slice(0, 8)}`;
  expect(await run('mcp', 'token', 'create', '--name', name, '--scope', 'runs:write')).toBe(0);
  const [token = ''] = output.split('\n');
  expect(token).toMatch(/^sy_mcp_[\w-]{43}$/);
  expect(await run('mcp', 'token', 'create', '--name', name, '--scope', 'runs:write')).not.toBe(0);
  await run('mcp', 'token', 'list', '--json');
  expect(output).toContain(name);
  expect(output).not.toContain(token);
  expect(await run('mcp', 'token', 'revoke', name)).toBe(0);
  expect(await run('mcp', 'token', 'create', '--name', name, '--scope', 'runs:write')).toBe(0);
});

test('mcp list tells which copies of files are kept, and when an unused one goes', async () => {
  const copy = path.join(stage.folder, 'kept/pipe/0123');
  await mkdir(copy, { recursive: true });
  await writeFile(path.join(copy, 'server.js'), 'x'.repeat(2000));
  const usedAt = new Date('2026-01-02T03:04:00Z');
  await utimes(copy, usedAt, usedAt);
  expect(await run('mcp', 'list')).toBe(0);
  expect(output).toMatch(
    /A copy of the files of pipe is kept here: [^,]+, last used 2026-01-02 .*, removed 2026-01-09 .* unless/,
  );
  await run('mcp', 'list', '--json');
  expect(JSON.parse(output)).toMatchObject({ kept: [{ server: 'pipe', bytes: 2000, usedAt: usedAt.toISOString() }] });
});
