import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { expect, onTestFinished, test } from 'vitest';
import { startOAuth } from '../fakes/mcp/oauth-server.ts';
import { serveHttp } from '../fakes/mcp/serve-http.ts';
import { toolServer, toolServerState } from '../fakes/mcp/tool-server.ts';
import { writeServerFolder } from '../fakes/mcp/write-server-folder.ts';
import { eventually } from '../support/eventually.ts';
import { owner, Product } from '../support/product.ts';

const agent = (mcp: string, grants = 'allow: mcp.call') => ({
  name: 'assistant',
  frontMatter: `tools: [memory_search]\nmcp: [${mcp}]\nautonomy: autonomous\ngrants:\n  - ${grants}`,
});
const callOf = (name: string, args: Readonly<Record<string, unknown>>) => ({
  text: '',
  toolCalls: [{ name, arguments: args }],
});

test('an owner allows a server’s tools in the chat, an agent uses one, and a change suspends it with a notice', async () => {
  const state = toolServerState();
  await using server = await serveHttp(toolServer(state));
  await using product = await Product.up({
    agents: [agent('fake')],
    yaml: `mcp:\n  servers:\n    fake: { url: ${server.url}/mcp, allow_private: true }\n`,
    script: [
      { text: 'I have no such tool yet.' },
      callOf('fake__echo', { text: 'hello from the server' }),
      { text: 'It said **hello**.' },
      callOf('fake__echo', { text: 'again' }),
      { text: 'It is suspended.' },
    ],
  });
  product.telegram.people.says(owner, owner, 'use the server');
  await product.hears(owner, /offers 2 tools that nobody has looked at/);
  await product.hears(owner, /I have no such tool yet/);
  await product.presses(owner, owner, 'Allow');
  await product.hears(owner, /Accepted by/);

  product.telegram.people.says(owner, owner, 'now');
  await product.hears(owner, /It said hello\./);
  expect(JSON.stringify(product.model.requests[2]?.body)).toContain('hello from the server');
  const offered = JSON.stringify(product.model.requests[1]?.body);
  expect(offered).toContain('fake__echo');
  expect(offered).not.toContain('readOnlyHint');

  state.description = 'Says the text again, to everybody.';
  await product.kill('up', 'SIGTERM');
  await product.start('up');
  product.telegram.people.says(owner, owner, 'once more');
  await product.hears(owner, /It is suspended/);
  await product.hears(owner, /changed a tool after approval[\s\S]*to everybody/);
  expect(JSON.stringify(product.model.requests[4]?.body)).toContain('after it was approved');
  expect(state.calls).toBe(1);

  const { stdout } = await product.cli(['mcp', 'tools', 'fake']);
  expect(stdout).toContain('- description: Says the text again.');
  await product.cli(['mcp', 'approve', 'fake', 'echo']);
  const list = JSON.parse((await product.cli(['mcp', 'list', '--json'])).stdout) as { servers: unknown[] };
  expect(list.servers).toEqual([expect.objectContaining({ name: 'fake', approved: 2, waiting: 0 })]);
});

test('a server over pipes works in the session’s sandbox with an approval for each call', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-notes-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeServerFolder(folder);
  await using product = await Product.up({
    agents: [agent('notes', 'ask: mcp.call')],
    yaml: `mcp:
  servers:
    notes:
      command: [node, /run/host/mcp/notes/server.mjs]
      files: ${folder}
      tools: [{ name: add_note, pin: auto }]
`,
    script: [callOf('notes__add_note', { line: 'buy milk' }), { text: 'Noted.' }],
  });
  product.telegram.people.says(owner, owner, 'note it');
  await product.hears(owner, /notes\/add_note[\s\S]*buy milk/, 40_000);
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /Noted\./, 40_000);
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('added');

  const checked = await product.cli(['mcp', 'check', 'notes']);
  expect(checked.stdout).toMatch(/add_note +approved/);
  expect(checked.stdout).not.toContain('read_notes');
});

test('a question of a server waits for its person over a crash of the worker, and the call is finished once', async () => {
  const state = toolServerState({ hasAsk: true });
  await using server = await serveHttp(toolServer(state));
  await using product = await askedToDeploy(server.url);
  await eventually(async () =>
    expect(await product.database.query("select from event where kind = 'question_asked'")).toHaveLength(1),
  );
  await product.kill('up');
  await product.start('up');
  await product.presses(owner, owner, 'Yes');
  await product.hears(owner, /Deployed\./);
  expect(state.calls).toBe(1);
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('answered');
});

test('a worker that dies after the question went out and before its turn knew of it has not lost the call', async () => {
  const state = toolServerState({ hasAsk: true });
  await using server = await serveHttp(toolServer(state));
  await using product = await askedToDeploy(server.url, async ({ database }) => {
    await database.query(`create function hold_up() returns trigger language plpgsql as
      $$ begin if new.kind = 'question_asked' then perform pg_sleep(600); end if; return new; end $$`);
    await database.query('create trigger hold_up before insert on event for each row execute function hold_up()');
  });
  await product.kill('up');
  const { database } = product;
  await database.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and wait_event = 'PgSleep'`);
  await database.query('drop function hold_up cascade');
  expect(await database.query("select from event where kind = 'question_asked'")).toEqual([]);
  await product.start('up');
  await product.presses(owner, owner, 'Yes');
  await product.hears(owner, /Deployed\./);
  expect(state.calls).toBe(1);
});

/** A product whose agent called a tool that asks, at the moment the owner reads the question. */
async function askedToDeploy(
  url: string,
  prepare: (product: Product) => Promise<void> = async () => undefined,
): Promise<Product> {
  const product = await Product.up({
    agents: [agent('fake', 'ask: mcp.call')],
    yaml: `mcp:\n  servers:\n    fake: { url: ${url}/mcp, allow_private: true }\n`,
    script: [callOf('fake__deploy', { to: 'production' }), { text: 'Deployed.' }],
  });
  await product.cli(['mcp', 'check', 'fake']);
  await product.cli(['mcp', 'approve', 'fake', '--all']);
  await prepare(product);
  product.telegram.people.says(owner, owner, 'deploy it');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /"fake" asks, for deploy: Deploy to production\?/);
  return product;
}

test('a person logs in at a server through the link they are sent in private, and the agent goes on', async () => {
  const state = toolServerState();
  await using server = await startOAuth(toolServer(state));
  await using product = await Product.up({
    agents: [agent('fake')],
    yaml: `mcp:\n  servers:\n    fake: { url: ${server.mcpUrl}, allow_private: true, auth: oauth }\n`,
    script: [{ text: 'Please log in.' }, callOf('fake__echo', { text: 'as me' }), { text: 'Done as you.' }],
  });
  product.telegram.people.says(owner, owner, 'use it');
  const link =
    /http:\/\/\S+\/mcp\/login\/[\w-]+/.exec(await product.hears(owner, /wants to know that it is you/))?.[0] ?? '';
  await product.hears(owner, /Please log in/);
  expect(await (await fetch(link)).text()).toContain('Person 1001');
  const confirmed = await fetch(link, { method: 'POST' });
  const cookie = (confirmed.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const onward = (/href="(http[^"]+\/authorize[^"]+)"/.exec(await confirmed.text())?.[1] ?? '').replaceAll(
    '&amp;',
    '&',
  );
  const back = await server.authorize(onward);
  const done = await fetch(back, { headers: { cookie } });
  expect(await done.text()).toContain('You are logged in at fake');
  await product.hears(owner, /You are logged in at the MCP server/);

  expect((await product.cli(['mcp', 'check', 'fake'])).stdout).toMatch(/echo +new/);
  await product.cli(['mcp', 'approve', 'fake', '--all']);
  product.telegram.people.says(owner, owner, 'now');
  await product.hears(owner, /Done as you/);
  expect(state.calls).toBe(1);
  for (const token of server.shown) {
    expect(product.output).not.toContain(token);
    expect(JSON.stringify(product.model.requests)).not.toContain(token);
  }
});

test('a program outside gives an agent work with a token and reads the answer', async () => {
  await using product = await Product.up({
    agents: [agent('', 'allow: memory.*')],
    script: [{ text: 'Forty-two.' }],
  });
  const made = await product.cli(['mcp', 'token', 'create', '--name', 'ci', '--scope', 'runs:write,memory:read']);
  const [token = ''] = made.stdout.split('\n');
  const gateway = /http:\/\/127\.0\.0\.1:\d+/.exec(product.output)?.[0] ?? '';
  const client = new Client({ name: 'ci', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${gateway}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  );
  const started = await client.callTool({ name: 'run_start', arguments: { task: 'the answer, please' } });
  const { run_id: runId } = started.structuredContent as { run_id: string };
  const ended = await client.callTool({ name: 'run_wait', arguments: { run_id: runId } });
  expect(ended.structuredContent).toMatchObject({ state: 'done', answer: 'Forty-two.' });
  await client.close();
  const list = (await product.cli(['mcp', 'token', 'list'])).stdout;
  expect(list).toMatch(/ci +in force/);
  expect(list).not.toContain(token);
  await product.cli(['mcp', 'token', 'revoke', 'ci']);
  const refused = await fetch(`${gateway}/mcp`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  expect(refused.status).toBe(401);
  expect(product.output).not.toContain(token);
});
