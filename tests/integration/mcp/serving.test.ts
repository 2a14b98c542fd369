import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { requestApproval } from '#core/approvals/request-approval.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import { newId } from '#core/kit/ids.ts';
import type { AccessScope } from '#core/mcp/access-scope.ts';
import { createAccessToken, revokeAccessToken } from '#core/mcp/access-tokens.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { type Server, startServer } from '#server/start-server.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { attack } from '#tests/support/attack.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const log = pino({ level: 'silent' });
const dm: Conversation = { channel: 'telegram', account: 'bot', room: '1', kind: 'dm' };
const annaDm: Conversation = { channel: 'telegram', account: 'bot', room: '2', kind: 'dm' };
const rung: string[] = [];
let database: TestDatabase;
let server: Server;
let owner: string;
let anna: string;
const stop = new AbortController();

beforeAll(async () => {
  database = await openTestDatabase();
  owner = await seedPerson(database, { name: 'Olga', role: 'owner', dm });
  anna = await seedPerson(database, { name: 'Anna', role: 'member', dm: annaDm });
  server = await startServer(
    {
      console: { ...Object(undefined) },
      web: { ...Object(undefined), uploadBytesMax: 1 },
      queues: [],
      reads: { ...Object(undefined) },
      outbox: { ...Object(undefined) },
      checks: [],
      hooks: [],
      mcp: {
        tools: {
          db: database.db,
          log,
          version: '1.2.3',
          defaultAgent: 'assistant',
          findAgent: async (name) =>
            await Promise.resolve(['assistant', 'coder'].includes(name) ? { name, version: 'v1' } : undefined),
          ring: async (wakes) => {
            rung.push(...wakes.map(({ sessionId }) => sessionId));
            await Promise.resolve();
          },
        },
        desk: {
          page: async (ticket) =>
            await Promise.resolve(
              ticket === 'good' ? { personName: '<b>Olga</b>', server: 'tickets', host: 'login.example' } : undefined,
            ),
          confirm: async (ticket) =>
            await Promise.resolve(
              ticket === 'good' ? { url: 'https://login.example/authorize?a=1&b=2', browser: 'secret' } : undefined,
            ),
          finish: async (params, browser) => {
            if (browser === 'secret' && params.get('code') === 'c') return await Promise.resolve({ server: 'tickets' });
            const { AppError } = await import('#core/kit/errors.ts');
            throw new AppError('mcp.login_failed', 'This login is over.');
          },
          clientDocument: () => ({ client_id: 'https://us.example/mcp/client-metadata.json' }),
        },
      },
      log,
    },
    {
      host: '127.0.0.1',
      port: 0,
      operatorToken: 'o',
      loginToken: 'l',
      cookieKey: 'c'.repeat(32),
      signal: stop.signal,
    },
  );
});
afterAll(async () => {
  stop.abort();
  await server[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  rung.length = 0;
});

async function makeToken(
  scopes: readonly AccessScope[],
  more: { readonly personId?: string; readonly agentName?: string; readonly validMs?: number } = {},
): Promise<string> {
  const { token } = await createAccessToken(database.db, {
    name: `test ${newId()}`,
    personId: more.personId ?? owner,
    agentName: more.agentName,
    scopes,
    createdBy: owner,
    validMs: more.validMs ?? 600_000,
  });
  return token;
}

/** A client of the official package. */
async function connect(token: string, era: 'auto' | 'legacy' = 'auto'): Promise<Client> {
  const client = new Client({ name: 'outside', version: '1' }, { versionNegotiation: { mode: era } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  );
  return client;
}

async function call(client: Client, name: string, args: Record<string, unknown>) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
  return { isError: result.isError === true, text, value: result.structuredContent as Record<string, unknown> };
}

test.each(['auto', 'legacy'] as const)('a program starts work once and reads how it stands (%s)', async (era) => {
  const client = await connect(await makeToken(['runs:write']), era);
  expect(client.getProtocolEra()).toBe(era === 'auto' ? 'modern' : 'legacy');
  const names = (await client.listTools()).tools.map(({ name }) => name);
  expect(names).toEqual(['run_start', 'run_status', 'run_wait']);
  const started = await call(client, 'run_start', { task: 'count to ten', idempotency_key: 'k1' });
  const again = await call(client, 'run_start', { task: 'count to ten', idempotency_key: 'k1' });
  expect(again.value['run_id']).toBe(started.value['run_id']);
  expect(rung).toHaveLength(1);
  const other = await call(client, 'run_start', { task: 'something else', idempotency_key: 'k1' });
  expect(other).toMatchObject({ isError: true, text: expect.stringMatching(/used for other work/) });

  const runId = String(started.value['run_id']);
  const [turn] = await database.query<{ origin: { personId: string }; kind: string; agent_name: string }>(
    'select origin, kind, agent_name from turn where id = $1',
    [runId],
  );
  expect(turn).toMatchObject({
    origin: { personId: owner, channel: 'console' },
    kind: 'task',
    agent_name: 'assistant',
  });
  expect((await call(client, 'run_wait', { run_id: runId, seconds: 0.1 })).value).toMatchObject({ state: 'queued' });
  const [session] = await database.query<{ id: string }>('select session_id as id from turn where id = $1', [runId]);
  await database.query(
    `insert into event (session_id, seq, turn_id, kind, payload)
     values ($1, coalesce((select max(seq) from event where session_id = $1), 0) + 1, $2, 'assistant_message',
       '{"parts":[{"type":"text","text":"One to "},{"type":"text","text":"ten."}]}')`,
    [session?.id, runId],
  );
  await database.query("update turn set state = 'done', finished_at = clock_timestamp() where id = $1", [runId]);
  expect((await call(client, 'run_wait', { run_id: runId })).value).toMatchObject({
    state: 'done',
    answer: 'One to ten.',
  });
  await client.close();
});

attack('mcp', 'a token that reads the work of another one', 'work belongs to its token', async () => {
  const first = await connect(await makeToken(['runs:write']));
  const { value } = await call(first, 'run_start', { task: 'mine' });
  const second = await connect(await makeToken(['runs:write'], { agentName: 'coder' }));
  const read = await call(second, 'run_status', { run_id: String(value['run_id']) });
  expect(read).toMatchObject({ isError: true, text: expect.stringMatching(/begun no work of this id/) });
  const started = await call(second, 'run_start', { task: 'x', agent: 'assistant' });
  expect(started).toMatchObject({ isError: true, text: expect.stringMatching(/may give work to "coder"/) });
  expect((await call(second, 'run_start', { task: 'x' })).value).toMatchObject({ agent: 'coder' });
});

attack('mcp', 'a call without its scope', 'not listed and refused', async () => {
  const client = await connect(await makeToken(['memory:read']));
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['memory_search']);
  await expect(client.callTool({ name: 'run_start', arguments: { task: 'x' } })).rejects.toThrow(/not found/i);
  const all = await connect(
    await makeToken(['runs:write', 'memory:read', 'memory:write', 'approvals:decide', 'messages:send']),
  );
  expect((await all.listTools()).tools).toHaveLength(8);
});

test('memory belongs to the person of the token', async () => {
  const mine = await connect(await makeToken(['memory:read', 'memory:write']));
  await call(mine, 'memory_save', { text: 'The door code is on the fridge.' });
  expect((await call(mine, 'memory_search', { query: 'door' })).text).toContain('on the fridge');
  const annas = await connect(await makeToken(['memory:read'], { personId: anna }));
  expect((await call(annas, 'memory_search', { query: 'door' })).value).toEqual({ facts: [] });
});

async function askFor(requesterId: string, approver: string): Promise<string> {
  const sessionId = await seedSession(database, dm);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, waitingFor: 'approval', origin: dm });
  return await database.db.transaction().execute(async (tx) => {
    const { approval, audit } = await requestApproval(tx, {
      sessionId,
      turnId,
      callId: '1:c',
      agentName: 'coder',
      action: { tool: 'exec', arguments: { command: 'make' }, permission: 'tool.exec', resource: 'make' },
      summary: 'make',
      risk: 'medium',
      requesterId,
      approvers: [[approver]],
      requesterMayApprove: false,
      conversation: dm,
      copies: [],
      validMs: 600_000,
    });
    if (audit !== undefined) await appendAudit(tx, [audit]);
    return approval.id;
  });
}

attack('mcp', 'an approval by a token of somebody else', 'decided as the person of the token', async () => {
  const theirs = await askFor(anna, 'role:owner');
  const annas = await connect(await makeToken(['approvals:decide'], { personId: anna }));
  const refused = await call(annas, 'approvals_decide', { approval_id: theirs, decision: 'approve' });
  expect(refused).toMatchObject({ isError: true, text: expect.stringMatching(/may not decide this/) });

  const owners = await connect(await makeToken(['approvals:decide']));
  const listed = await call(owners, 'approvals_list', {});
  expect(listed.text).toContain(theirs);
  expect((await call(owners, 'approvals_decide', { approval_id: theirs, decision: 'approve' })).value).toEqual({
    decided: 'approve',
  });
  const again = await call(owners, 'approvals_decide', { approval_id: theirs, decision: 'deny' });
  expect(again.text).toMatch(/already approved by Olga/);
  const reader = await connect(await makeToken(['approvals:read']));
  expect((await reader.listTools()).tools.map(({ name }) => name)).toEqual(['approvals_list']);
});

test('a message of a member goes to themselves only; each is said once', async () => {
  const annas = await connect(await makeToken(['messages:send'], { personId: anna }));
  expect(await call(annas, 'message_send', { to: 'owners', text: 'hi' })).toMatchObject({ isError: true });
  await call(annas, 'message_send', { text: 'to myself', idempotency_key: 'm1' });
  await call(annas, 'message_send', { text: 'to myself', idempotency_key: 'm1' });
  const rows = await database.query<{ thread_key: string }>(
    "select thread_key from outbox where body::text like '%to myself%'",
  );
  expect(rows.map((row) => row.thread_key)).toEqual(['telegram:bot:2:-']);
  const owners = await connect(await makeToken(['messages:send']));
  expect((await call(owners, 'message_send', { to: `person:${anna}`, text: 'hello' })).value).toMatchObject({
    sent_to: 1,
  });
});

attack('mcp', 'no token, a revoked or an ended one', 'they open nothing', async () => {
  const url = `${server.url}/mcp`;
  const post = async (token?: string): Promise<Response> =>
    await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    });
  const none = await post();
  expect(none.status).toBe(401);
  const metadata = /resource_metadata="([^"]+)"/.exec(none.headers.get('www-authenticate') ?? '')?.[1] ?? '';
  expect(await (await fetch(metadata)).json()).toMatchObject({ resource: url, bearer_methods_supported: ['header'] });
  expect((await post('sy_mcp_made-up')).status).toBe(401);

  const good = await makeToken(['runs:write']);
  expect((await post(good)).status).toBe(200);
  const gone = await seedPerson(database, { name: 'Gone', role: 'owner' });
  const theirs = await makeToken(['runs:write'], { personId: gone });
  await database.query('update person set disabled_at = now() where id = $1', [gone]);
  expect((await post(theirs)).status).toBe(401);
  const [row] = await database.query<{ name: string }>(
    'select name from access_token where revoked_at is null order by created_at limit 1',
  );
  await revokeAccessToken(database.db, row?.name ?? '', owner);
  const old = await makeToken(['runs:write'], { validMs: 60_000 });
  await database.query(
    "update access_token set created_at = now() - interval '2 days', expires_at = now() - interval '1 day' where name = (select name from access_token order by created_at desc limit 1)",
  );
  expect((await post(old)).status).toBe(401);
  const stored = JSON.stringify(await database.query('select * from access_token'));
  expect(stored).not.toContain(good);
});

attack('mcp', 'a web site that uses a token through a browser', 'requests of other sites are refused', async () => {
  const response = await fetch(`${server.url}/mcp`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await makeToken(['runs:write'])}`, origin: 'https://evil.example' },
    body: '{}',
  });
  expect(response.status).toBe(403);
});

test('every call is on the audit, with the token and without what was said', async () => {
  const client = await connect(await makeToken(['memory:write']));
  await call(client, 'memory_save', { text: 'An unusual sentence about marmots.' });
  const rows = await database.query<{ body: Record<string, unknown> }>(
    "select body from audit_body where body::text like '%access.call%'",
  );
  expect(JSON.stringify(rows)).toContain('memory_save');
  expect(JSON.stringify(rows)).not.toContain('marmots');
});

test('one token may not call without end', async () => {
  const token = await makeToken(['memory:read']);
  const statuses = await Promise.all(
    Array.from({ length: 125 }, async () => {
      const response = await fetch(`${server.url}/mcp`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          authorization: `Bearer ${token}`,
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
      });
      await response.text();
      return response.status;
    }),
  );
  expect(statuses.filter((status) => status === 429)).toHaveLength(5);
});

test('the pages of a login say for whom it is, and only that browser may come back', async () => {
  const page = await fetch(`${server.url}/mcp/login/good`);
  expect(page.status).toBe(200);
  const text = await page.text();
  expect(text).toContain('&lt;b&gt;Olga&lt;/b&gt;');
  expect(text).toContain('login.example');
  expect((await fetch(`${server.url}/mcp/login/bad`)).status).toBe(404);
  const confirmed = await fetch(`${server.url}/mcp/login/good`, { method: 'POST' });
  const cookie = confirmed.headers.get('set-cookie') ?? '';
  expect(cookie).toMatch(/^sy_mcp_login=secret; .*Path=\/mcp; HttpOnly; SameSite=Lax/);
  expect(await confirmed.text()).toContain('href="https://login.example/authorize?a=1&amp;b=2"');
  const without = await fetch(`${server.url}/mcp/callback?code=c&state=s`);
  expect(without.status).toBe(400);
  const back = await fetch(`${server.url}/mcp/callback?code=c&state=s`, { headers: { cookie: 'sy_mcp_login=secret' } });
  expect(back.status).toBe(200);
  expect(await (await fetch(`${server.url}/mcp/client-metadata.json`)).json()).toMatchObject({
    client_id: 'https://us.example/mcp/client-metadata.json',
  });
});
