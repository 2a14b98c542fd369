import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { z } from 'zod';
import { BrowserSessions } from '#workers/browser/browser-sessions.ts';
import type { Figure } from '../sandbox.ts';
import { log, newSession, type SandboxSite, signal, specOf, upstreamName, upstreamRule } from './sandbox-site.ts';
import { quantile } from './stage.ts';

const firstPages = 5;
const nextPages = 20;
const requests = 500;

/** A web server on loopback; every page is different and has what pages have. */
async function openUpstream(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const items = Array.from({ length: 50 }, (_, i) => `<li><a href="/item/${i}">Item ${i}</a></li>`).join('');
    const page = `<title>${request.url}</title><h1>Shop</h1><ul>${items}</ul><form><input name="q"><button>Find</button></form>`;
    response.setHeader('content-type', request.url === '/small' ? 'text/plain' : 'text/html');
    response.end(request.url === '/small' ? 'ok' : page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A session's first page, its container and browser included, and the ones after it; each is opened and read. */
export async function measureBrowser(site: SandboxSite): Promise<Record<string, Figure>> {
  await using upstream = await openUpstream();
  const sandboxes = site.worker();
  const sessions: string[] = [];
  const first: number[] = [];
  const next: number[] = [];
  for (let session = 0; session <= firstPages; session++) {
    await using browsers = new BrowserSessions({ log });
    const sessionId = newSession();
    sessions.push(sessionId);
    const spec = specOf(sessionId, {
      kind: 'browser',
      egress: [upstreamRule(upstream.port)],
      limits: { network: 'gateway' },
    });
    const visit = async (page: number) => {
      const startedAt = performance.now();
      const sandbox = await sandboxes.open(spec, signal);
      for (const command of [
        { action: 'navigate', url: `http://${upstreamName}:${upstream.port}/${page}`, isNewTab: false },
        { action: 'read', isText: false, offset: 0, charsMax: 20_000 },
      ] as const) {
        const { reply } = await browsers.call(sessionId, sandbox, { command, timeoutMs: 20_000, signal });
        if (!reply.ok) throw new Error(`the browser could not ${command.action}: ${reply.message}`);
      }
      return performance.now() - startedAt;
    };
    const tookMs = await visit(0);
    // The first one of all reads the browser from the disk.
    if (session > 0) first.push(tookMs);
    for (let page = 1; session > 0 && page <= nextPages / firstPages; page++) next.push(await visit(page));
    await sandboxes.removeAll();
  }
  await site.end(sandboxes, sessions);
  return {
    browser_first_ms: { value: quantile(first, 0.5), samples: first.length, goal: '< 1500' },
    browser_next_ms: { value: quantile(next, 0.5), samples: next.length, goal: '< 500' },
  };
}

/**
 * One program asks for a small file again and again, each time on a new connection: on the host straight from the
 * server, in a sandbox through forwarder and gateway. The difference of the medians is what the way out costs.
 */
export async function measureGateway(site: SandboxSite): Promise<Record<string, Figure>> {
  await using upstream = await openUpstream();
  const sandboxes = site.worker();
  const sessionId = newSession();
  const spec = specOf(sessionId, { egress: [upstreamRule(upstream.port)], limits: { network: 'gateway', cpus: 2 } });
  const sandbox = await sandboxes.open(spec, signal);
  const absolute = `http://${upstreamName}:${upstream.port}/small`;
  const inside: number[] = [];
  const outside: number[] = [];
  // In turns, so that what else the machine does meets both alike.
  for (let round = 0; round < 5; round++) {
    const program = client(requests / 5);
    const asked = await sandbox.exec({
      command: `node - 127.0.0.1 3128 ${absolute}`,
      stdin: program,
      timeoutMs: 120_000,
      outputBytesMax: 1 << 20,
      signal,
    });
    inside.push(...parseTimes(asked.output));
    const direct = promisify(execFile)(process.execPath, ['-', '127.0.0.1', String(upstream.port), '/small']);
    direct.child.stdin?.end(program);
    outside.push(...parseTimes((await direct).stdout));
  }
  await site.end(sandboxes, [sessionId]);
  const added = quantile(inside, 0.5) - quantile(outside, 0.5);
  return {
    gateway_ms: { value: added, samples: inside.length, goal: '< 3' },
    gateway_request_ms: { value: quantile(inside, 0.5), samples: inside.length },
    gateway_request_ms_p99: { value: quantile(inside, 0.99), samples: inside.length },
    gateway_direct_ms: { value: quantile(outside, 0.5), samples: outside.length },
  };
}

function parseTimes(output: string): number[] {
  const times = z.array(z.number()).safeParse(JSON.parse(output === '' ? '[]' : output));
  if (!times.success || times.data.length === 0) throw new Error(`no times in: ${output.slice(0, 300)}`);
  return times.data;
}

/** Runs alike on the host and in the sandbox; prints the times of its requests after a few to warm up. */
function client(count: number): string {
  return `
const http = require('node:http');
const [host, port, path] = process.argv.slice(2);
const headers = { host: '${upstreamName}' + (path.startsWith('http') ? ':' + new URL(path).port : '') };
const ask = () => new Promise((resolve, reject) => {
  const startedAt = performance.now();
  http.get({ host, port, path, headers, agent: false }, (response) => {
    let text = '';
    response.on('data', (chunk) => { text += chunk; });
    response.on('end', () => {
      if (response.statusCode !== 200 || text !== 'ok') reject(new Error(response.statusCode + ' ' + text));
      else resolve(performance.now() - startedAt);
    });
  }).on('error', reject);
});
(async () => {
  for (let i = 0; i < 50; i++) await ask();
  const times = [];
  for (let i = 0; i < ${count}; i++) times.push(await ask());
  console.log(JSON.stringify(times));
})().catch((err) => { console.error(err); process.exitCode = 1; });
`;
}
