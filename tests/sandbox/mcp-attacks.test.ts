import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { decideTools } from '#core/mcp/decide-tools.ts';
import { startOAuth } from '#tests/fakes/mcp/oauth-server.ts';
import { serveHttp } from '#tests/fakes/mcp/serve-http.ts';
import { toolServer, toolServerState } from '#tests/fakes/mcp/tool-server.ts';
import { attack } from '#tests/support/attack.ts';
import { McpStage, type McpWorker } from '#tests/support/mcp-stage.ts';
import { openSandboxStage, type SandboxStage } from '#tests/support/sandbox-stage.ts';

const fakes = path.resolve(import.meta.dirname, '../fakes/mcp');
let sandboxes: SandboxStage;
let stage: McpStage;
let current: McpWorker | undefined;

beforeAll(async () => {
  sandboxes = openSandboxStage();
  stage = await McpStage.open();
  mkdirSync(path.join(stage.folder, 'liar'));
  cpSync(path.join(fakes, 'lying-server.main.ts'), path.join(stage.folder, 'liar/server.ts'));
  const hands = sandboxes.worker(
    { poolSize: 0 },
    { prepareFolders: [async (spec, directory) => await current?.clients.prepareFolder(spec, directory)] },
  );
  stage.openSandbox = async (sessionId) => await sandboxes.open(hands, sessionId);
}, 60_000);
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await sandboxes[Symbol.asyncDispose]();
});

/** A worker with a server that lies in one way, in a container. */
function liar(lie: string, seconds = 20): McpWorker {
  const command = ['node', '/run/host/mcp/liar/server.ts', lie];
  current = stage.worker({ liar: { command, files: 'liar', timeout_seconds: seconds } });
  return current;
}

async function approve(server: string): Promise<void> {
  const tools = (await stage.known(server)).map(({ name, digest }) => ({ name, digest }));
  await stage.database.db
    .transaction()
    .execute(
      async (tx) => await decideTools(tx, { server, tools, isApproved: true, personId: stage.owner, via: 'cli' }),
    );
}

/** Approves what the liar lists and calls it once, as a turn does. */
async function callLiar(lie: string, seconds?: number): Promise<string> {
  const worker = liar(lie, seconds);
  await worker.look('liar');
  await approve('liar');
  const work = await stage.turn(await stage.session());
  return (await worker.call(work, 'liar__safe', {})).text;
}

describe('mcp servers that lie', () => {
  attack('mcp', 'a line of six megabytes', 'the server is ended, the call fails', async () => {
    expect(await callLiar('giant line')).toMatch(/ended before it answered/);
  });

  attack('mcp', 'noise without an end', 'the server is ended after 16 MiB', async () => {
    expect(await callLiar('noise')).toMatch(/ended before it answered/);
  });

  attack('mcp', 'a flood of small messages', 'read at 200 a second, the worker stays quick', async () => {
    const calling = callLiar('flood', 3);
    let longest = 0;
    for (let last = performance.now(), until = last + 4_000; last < until; ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    expect(await calling).toMatch(/did not answer in time/);
    expect(longest).toBeLessThan(10_000);
  });

  attack('mcp', 'a server that never answers', 'the call ends at its time limit', async () => {
    expect(await callLiar('silent', 1)).toMatch(/did not answer in time/);
  });

  attack('mcp', 'a server that dies half-way', 'told as an unknown outcome, started anew', async () => {
    expect(await callLiar('dies')).toMatch(/ended before it answered/);
  });

  for (const lie of ['endless list', 'many tools']) {
    attack('mcp', `${lie}`, 'nothing of the list is taken', async () => {
      await stage.database.query('delete from mcp_server');
      await expect(liar(lie).look('liar')).rejects.toMatchObject({ code: expect.stringMatching(/^mcp\./) });
      expect(await stage.known('liar')).toEqual([]);
    });
  }

  attack('mcp', 'a tool that changes while it is in use', 'suspended before the next call', async () => {
    const worker = liar('changes');
    await worker.look('liar');
    await approve('liar');
    const work = await stage.turn(await stage.session());
    await worker.call(work, 'liar__safe', {});
    expect((await worker.call(work, 'liar__safe', {}, { callKey: '2:call' })).text).toMatch(/^Not called/);
  });

  attack('mcp', 'hidden letters, escapes and orders in descriptions', 'taken out, told to the approver', async () => {
    const worker = liar('odd names');
    await worker.look('liar');
    const notices = (await stage.said()).join('\n');
    expect(notices).toContain('‹U+E0049›');
    expect(notices).toMatch(/tells the model to do other things/);
    await approve('liar');
    for (const [name, tool] of await worker.tools(await stage.turn(await stage.session()))) {
      expect(`${name} ${tool.description}`).not.toMatch(/[\p{Cf}\u001b]/u);
    }
  });

  attack('mcp', 'a result that speaks as the platform', 'stands below a line that says whose it is', async () => {
    expect(await callLiar('platform talk')).toMatch(/^\[liar\/safe answered; data of an outside server/);
  });

  attack('mcp', 'a remote server that redirects to cloud metadata', 'not followed', async () => {
    const state = toolServerState();
    await using server = await serveHttp(toolServer(state), {
      before: (_request, response) => {
        response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/' });
        response.end();
        return true;
      },
    });
    const worker = stage.worker({ away: { url: server.url, allow_private: true } });
    await expect(worker.look('away')).rejects.toMatchObject({ code: expect.stringMatching(/^(?:mcp|egress)\./) });
  });

  attack('mcp', 'a login that comes back from another issuer', 'refused before the code is used', async () => {
    await using fake = await startOAuth(toolServer(toolServerState()), { wrongIss: true });
    const worker = stage.worker({ login: { url: fake.mcpUrl, allow_private: true, auth: 'oauth' } });
    await expect(worker.look('login')).rejects.toMatchObject({ code: 'mcp.login_needed' });
    const link = /\/mcp\/login\/([\w-]+)/.exec((await stage.said()).at(-1) ?? '')?.[1] ?? '';
    const confirmed = await worker.logins.confirm(link);
    const back = new URL(await fake.authorize(confirmed?.url ?? '')).searchParams;
    await expect(worker.logins.finish(back, confirmed?.browser)).rejects.toMatchObject({ code: 'mcp.login_failed' });
    expect(fake.tokenRequests).toEqual([]);
  });

  attack('mcp', 'a login that somebody else is made to finish', 'only the browser that began it may', async () => {
    await using fake = await startOAuth(toolServer(toolServerState()));
    const worker = stage.worker({ victim: { url: fake.mcpUrl, allow_private: true, auth: 'oauth' } });
    await expect(worker.look('victim')).rejects.toMatchObject({ code: 'mcp.login_needed' });
    const link = /\/mcp\/login\/([\w-]+)/.exec((await stage.said()).at(-1) ?? '')?.[1] ?? '';
    const confirmed = await worker.logins.confirm(link);
    const back = new URL(await fake.authorize(confirmed?.url ?? '')).searchParams;
    await expect(worker.logins.finish(back, 'the victim’s browser')).rejects.toMatchObject({
      code: 'mcp.login_failed',
    });
    expect(fake.tokenRequests).toEqual([]);
  });
});
