import { afterEach, beforeEach, expect, test } from 'vitest';
import { decideTools } from '#core/mcp/decide-tools.ts';
import { type OAuthFake, type OAuthLies, startOAuth } from '#tests/fakes/mcp/oauth-server.ts';
import { toolServer, toolServerState } from '#tests/fakes/mcp/tool-server.ts';
import { McpStage, type McpWorker } from '#tests/support/mcp-stage.ts';

let stage: McpStage;
const fakes: OAuthFake[] = [];
beforeEach(async () => {
  stage = await McpStage.open();
});
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

async function start(lies: OAuthLies = {}): Promise<{ readonly fake: OAuthFake; readonly worker: McpWorker }> {
  const fake = await startOAuth(toolServer(toolServerState()), lies);
  fakes.push(fake);
  return { fake, worker: stage.worker({ fake: { url: fake.mcpUrl, allow_private: true, auth: 'oauth' } }) };
}

/** The ticket of the link that was last sent in private. */
async function sentTicket(): Promise<string> {
  const text = (await stage.said()).findLast((said) => said.includes('/mcp/login/')) ?? '';
  return /\/mcp\/login\/([\w-]+)/.exec(text)?.[1] ?? '';
}

/** Goes the whole way as one browser. */
async function logIn(fake: OAuthFake, worker: McpWorker, ticket: string): Promise<{ readonly server: string }> {
  const confirmed = await worker.logins.confirm(ticket);
  const back = await fake.authorize(confirmed?.url ?? '');
  return await worker.logins.finish(new URL(back).searchParams, confirmed?.browser);
}

async function approveAll(): Promise<void> {
  const tools = (await stage.known('fake')).map(({ name, digest }) => ({ name, digest }));
  await stage.database.db
    .transaction()
    .execute(
      async (tx) =>
        await decideTools(tx, { server: 'fake', tools, isApproved: true, personId: stage.owner, via: 'cli' }),
    );
}

test('whoever asks is sent a link in private; after the login the server works for them', async () => {
  const { fake, worker } = await start();
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  const links = (await stage.said()).filter((said) => said.includes('/mcp/login/'));
  expect(links).toHaveLength(1);

  const ticket = await sentTicket();
  expect(await worker.logins.page(ticket)).toEqual({
    personName: 'Olga',
    server: 'fake',
    host: new URL(fake.issuer).host,
  });
  expect(await logIn(fake, worker, ticket)).toEqual({ server: 'fake' });
  const [exchange] = fake.tokenRequests;
  expect(exchange?.get('resource')).toBe(fake.mcpUrl);
  expect(fake.registered).toEqual([expect.objectContaining({ client_name: 'Switchyard', application_type: 'native' })]);
  await worker.look('fake');
  await approveAll();
  const work = await stage.turn(await stage.session());
  expect((await worker.call(work, 'fake__echo', { text: 'mine' })).text).toMatch(/mine$/);
  expect((await stage.said()).at(-1)).toMatch(/offers 2 tools/);
  expect(await stage.said()).toContainEqual(expect.stringMatching(/You are logged in/));

  const nobody = await stage.turn(await stage.session());
  const { personId: _, ...origin } = nobody.origin;
  const refused = await worker.call({ ...nobody, origin }, 'fake__echo', { text: 'x' });
  expect(refused.text).toMatch(/works for people who logged in/);
});

test('nothing of a login lies open in the database, and its tokens are known to the redactor', async () => {
  const { fake, worker } = await start();
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  const drafts = JSON.stringify(await stage.database.query('select * from mcp_login'));
  await logIn(fake, worker, await sentTicket());
  await worker.look('fake');
  const [token = ''] = fake.shown;
  expect(token).not.toBe('');
  const rows = JSON.stringify([
    await stage.database.query('select * from mcp_grant'),
    await stage.database.query('select * from mcp_client'),
    await stage.database.query('select * from audit_record'),
  ]);
  expect(rows).not.toContain(token);
  expect(drafts).not.toContain('verifier');
  expect(drafts).not.toContain('/authorize');
  expect(stage.learned).toContain(token);
});

test('a link works once, in the browser that confirmed it, and not after its time', async () => {
  const { fake, worker } = await start();
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  const ticket = await sentTicket();
  const confirmed = await worker.logins.confirm(ticket);
  expect(await worker.logins.confirm(ticket)).toBeUndefined();
  expect(await worker.logins.page(ticket)).toBeUndefined();
  const back = new URL(await fake.authorize(confirmed?.url ?? '')).searchParams;
  await expect(worker.logins.finish(back, undefined)).rejects.toMatchObject({ code: 'mcp.login_failed' });
  await expect(worker.logins.finish(back, 'another browser')).rejects.toMatchObject({ code: 'mcp.login_failed' });
  await worker.logins.finish(back, confirmed?.browser);
  await expect(worker.logins.finish(back, confirmed?.browser)).rejects.toMatchObject({ code: 'mcp.login_failed' });
  expect(fake.tokenRequests).toHaveLength(1);

  const server = worker.clients.require('fake');
  const url = await worker.logins.begin(server.kind === 'remote' ? server : (undefined as never), stage.owner);
  await stage.database.query(
    "update mcp_login set created_at = now() - interval '1 hour', expires_at = now() - interval '1 minute'",
  );
  expect(await worker.logins.confirm(url.split('/').at(-1) ?? '')).toBeUndefined();
});

test('an answer of another authorization server than the one we sent the person to is refused before the code is used', async () => {
  const { fake, worker } = await start({ wrongIss: true });
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  await expect(logIn(fake, worker, await sentTicket())).rejects.toMatchObject({ code: 'mcp.login_failed' });
  expect(fake.tokenRequests).toEqual([]);
});

test('an authorization server that claims to be another one is refused before anybody is sent there', async () => {
  const { worker } = await start({ wrongIssuer: true });
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_failed' });
  expect(await stage.said()).toEqual([]);
});

test('an authorization server that lost our registration is given a new one with the next link', async () => {
  const { fake, worker } = await start({ forgetsClient: true });
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  await expect(logIn(fake, worker, await sentTicket())).rejects.toMatchObject({ code: 'mcp.login_failed' });
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  expect(await logIn(fake, worker, await sentTicket())).toEqual({ server: 'fake' });
  expect(fake.registered).toHaveLength(2);
});

test('a server that points to a metadata address for its logins reaches nothing', async () => {
  const { worker } = await start({ pointsTo: 'http://169.254.169.254' });
  await expect(worker.look('fake')).rejects.toMatchObject({
    code: expect.stringMatching(/^(?:egress\.refused|mcp\.login_failed)$/),
  });
});

test('a token that ended is renewed by one process only, and a revoked one asks for a new login', async () => {
  const { fake, worker } = await start();
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  await logIn(fake, worker, await sentTicket());
  await worker.look('fake');
  await approveAll();
  fake.expire();
  const other = stage.worker({ fake: { url: fake.mcpUrl, allow_private: true, auth: 'oauth' } });
  const works = await Promise.all([1, 2, 3].map(async () => await stage.turn(await stage.session())));
  const results = await Promise.all(
    works.map(async (work, index) => await (index === 1 ? other : worker).call(work, 'fake__echo', { text: 'ok' })),
  );
  expect(results.map(({ text }) => text.split('\n').at(-1))).toEqual(['ok', 'ok', 'ok']);
  const renewals = fake.tokenRequests.filter((form) => form.get('grant_type') === 'refresh_token');
  expect(renewals).toHaveLength(1);
  expect(renewals[0]?.get('resource')).toBe(fake.mcpUrl);

  fake.expire();
  fake.revoke();
  await stage.database.query("update mcp_login set created_at = now() - interval '1 hour'");
  const work = await stage.turn(await stage.session());
  expect((await worker.call(work, 'fake__echo', { text: 'late' })).text).toMatch(/wants whoever asked to log in/);
  expect(await stage.database.query('select 1 from mcp_grant')).toEqual([]);
});

test('one person’s login is not used for another, and logging out forgets it', async () => {
  const { fake, worker } = await start();
  await expect(worker.look('fake')).rejects.toMatchObject({ code: 'mcp.login_needed' });
  await logIn(fake, worker, await sentTicket());
  await worker.look('fake');
  await approveAll();
  const [row] = await stage.database.query<{ id: string }>(
    "insert into person (id, display_name, role) values (gen_random_uuid(), 'Peter', 'member') returning id",
  );
  const peters = await stage.turn(await stage.session(), row?.id);
  expect((await worker.call(peters, 'fake__echo', { text: 'x' })).text).toMatch(/wants a login/);
  const server = worker.clients.require('fake');
  if (server.kind !== 'remote') throw new Error('not remote');
  expect(await worker.logins.logout(server, stage.owner)).toBe(true);
  expect(await worker.logins.logout(server, stage.owner)).toBe(false);
});
