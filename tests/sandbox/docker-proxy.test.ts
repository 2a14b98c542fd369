import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import { readCompose } from '#tests/support/compose.ts';
import { eventually } from '#tests/support/eventually.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

/**
 * Stands where the socket proxy of docker-compose.yml stands and applies its allow-list, so that the list is held
 * against the calls the product really makes.
 */
const folder = mkdtempSync(path.join(tmpdir(), 'sy-proxy-'));
const socket = path.join(folder, 'docker.sock');
const used = new Set<string>();
const refused: string[] = [];
let rules: { readonly method: string; readonly pattern: RegExp }[] = [];

const proxy = createServer((incoming, answer) => {
  const { method = '', url = '', headers } = incoming;
  const { pathname } = new URL(url, 'http://engine');
  const rule = rules.find((each) => each.method === method && each.pattern.test(pathname));
  if (rule === undefined) {
    refused.push(`${method} ${pathname}`);
    answer.writeHead(403).end('not on the list');
    return;
  }
  used.add(`${method} ${pathname.replace(/[0-9a-f]{64}/, '<id>')}`);
  const engine = inject('dockerHost').replace(/^unix:\/\//, '');
  const outgoing = request({ socketPath: engine, method, path: url, headers }, (reply) => {
    answer.writeHead(reply.statusCode ?? 502, reply.headers);
    reply.pipe(answer);
  });
  outgoing.on('error', () => answer.destroy());
  answer.on('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
});

beforeAll(async () => {
  const { file } = readCompose({ POSTGRES_PASSWORD: 'secret' });
  rules = (file?.services['docker-proxy']?.command ?? []).flatMap((flag) => {
    const [, method, pattern] = /^-allow([A-Z]+)=(.*)$/.exec(flag) ?? [];
    return method === undefined ? [] : [{ method, pattern: new RegExp(`^(?:${pattern})$`) }];
  });
  await new Promise<void>((resolve) => proxy.listen(socket, resolve));
});
afterAll(async () => {
  proxy.closeAllConnections();
  await new Promise((resolve) => proxy.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

test('every call a sandbox needs from start to end is on the list', async () => {
  const sandboxes = new DockerSandboxes(
    { log: pino({ level: 'silent' }) },
    {
      dockerHost: `unix://${socket}`,
      image: inject('sandboxImage'),
      instance: `proxy-${newToken(6)}`,
      socketDirectory: path.join(folder, 's'),
      limits: { pauseAfterMs: 50, dialMs: 30_000, jobsMs: 10_000 },
    },
  );
  const sessionId = `proxy-${newToken(6)}`;
  const signal = AbortSignal.timeout(50_000);
  expect(await sandboxes.check()).toMatchObject({ ok: true });
  const sandbox = await sandboxes.open({ sessionId, agent: 'tester', limits: sandboxLimitsSchema.parse({}) }, signal);
  const exec = async (command: string) =>
    await sandbox.exec({ command, timeoutMs: 20_000, outputBytesMax: 10_000, signal });
  expect((await exec('echo hello')).output).toBe('hello\n');
  await eventually(() => expect([...used]).toContain('POST /containers/<id>/pause'));
  expect((await exec('echo again')).output).toBe('again\n');
  expect((await sandbox.exec({ command: 'sleep 60', timeoutMs: 200, outputBytesMax: 100, signal })).ended).toBe(
    'timeout',
  );
  await sandboxes.sweep();
  await sandboxes.forget(sessionId);
  await sandboxes[Symbol.asyncDispose]();
  expect(refused).toEqual([]);
  expect([...used]).toContain('POST /containers/<id>/unpause');
  expect([...used].some((call) => call.startsWith('DELETE /containers/'))).toBe(true);
});

test.each([
  ['POST', '/build'],
  ['POST', '/images/create'],
  ['POST', '/containers/abc/attach'],
  ['POST', '/containers/abc/update'],
  ['PUT', '/containers/abc/archive'],
  ['GET', '/containers/abc/archive'],
  ['GET', '/containers/abc/../../info'],
  ['GET', '/secrets'],
  ['POST', '/volumes/prune'],
  ['POST', '/swarm/init'],
  ['DELETE', '/images/abc'],
])('%s %s is not on the list', (method, target) => {
  expect(rules.some((rule) => rule.method === method && rule.pattern.test(target))).toBe(false);
});
