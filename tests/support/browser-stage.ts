import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo, LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type Docker from 'dockerode';
import { pino } from 'pino';
import { inject } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import type { EgressRecord } from '#core/egress/egress-record.ts';
import { egressRuleSchema } from '#core/egress/egress-rule.ts';
import { newToken } from '#core/kit/ids.ts';
import { BrowserSessions } from '#workers/browser/browser-sessions.ts';
import type { DriverCommand, DriverDone, DriverFailed } from '#workers/browser/driver-protocol.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { openHopSender } from '#workers/egress/send-hop.ts';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import { makeCertificate } from '../fakes/web/certificate.ts';
import { type FakeShop, startFakeShop } from '../fakes/web/pages/shop.ts';
import { browserTag, buildBrowserImage } from './browser-image.ts';

/** Browsers in real containers behind a real gateway, and a shop they may visit at `http://shop.test:<port>`. */
export interface BrowserStage extends AsyncDisposable {
  readonly engine: Docker;
  readonly shop: FakeShop;
  /** The shop as the browser sees it. */
  readonly url: string;
  /** An allowed host whose certificate is not to be believed. */
  readonly secureUrl: string;
  readonly records: readonly EgressRecord[];
  removeContainers(): Promise<void>;
  /** A worker's sandboxes and browsers; all share containers, as workers of one host do. */
  worker(limits?: { readonly pauseAfterMs?: number }): BrowserWorker;
}

export interface BrowserWorker {
  readonly browsers: BrowserSessions;
  open(sessionId: string): Promise<Sandbox>;
  /** One command in the session's browser. */
  use(
    sessionId: string,
    command: DriverCommand,
    rest?: { readonly timeoutMs?: number; readonly signal?: AbortSignal; readonly onHost?: string },
  ): Promise<(DriverDone | DriverFailed) & { readonly isNew: boolean }>;
  close(): Promise<void>;
}

/** Reads the page as a tree. */
export const read = { action: 'read', isText: false, offset: 0, charsMax: 50_000 } as const;

export async function openBrowserStage(): Promise<BrowserStage> {
  await buildBrowserImage();
  const shop = await startFakeShop();
  const dockerHost = inject('dockerHost');
  const engine = openEngine(dockerHost);
  const instance = `test-${newToken(6)}`;
  const folder = mkdtempSync(path.join(tmpdir(), 'syb-'));
  const log = pino({ level: process.env['SANDBOX_TEST_LOG'] ?? 'silent' });
  const records: EgressRecord[] = [];
  const reach: Reach = { guard: createAddressGuard({ open: ['127.0.0.1/32'] }), lookup: lookupShop };
  const sender = openHopSender(reach);
  const openGateway = createOpenGateway({
    log,
    journal: {
      admit: async () => ({ ok: true, bytesLeft: 1e9 }),
      spend: () => true,
      record: (record) => void records.push(record),
    },
    credentials: { resolve: async () => await Promise.reject(new Error('no credentials here')) },
    sender,
    reach,
  });
  // Its certificate vouches for itself, which no browser believes.
  const vault = createServer(makeCertificate(['secure.test']), (_request, response) => response.end('inside'));
  await new Promise<void>((resolve) => vault.listen(0, '127.0.0.1', resolve));
  const { port: securePort } = vault.address() as AddressInfo;
  const egress = [
    egressRuleSchema.parse({ host: 'shop.test', methods: ['*'], ports: [shop.port] }),
    egressRuleSchema.parse({ host: 'secure.test', methods: ['*'], ports: [securePort] }),
  ];
  const limits = sandboxLimitsSchema.parse({ network: 'gateway' });
  const workers: BrowserWorker[] = [];
  const removeContainers = async () => {
    const own = await engine.listContainers({ all: true, filters: { label: [`${labels.instance}=${instance}`] } });
    for (const container of own) await engine.getContainer(container.Id).remove({ force: true });
  };
  return {
    engine,
    shop,
    url: `http://shop.test:${shop.port}`,
    secureUrl: `https://secure.test:${securePort}/`,
    records,
    worker: (own = {}) => {
      const sandboxes = new DockerSandboxes(
        { log },
        {
          dockerHost,
          image: inject('sandboxImage'),
          browserImage: browserTag,
          instance,
          socketDirectory: folder,
          openGateway,
          limits: { poolSize: 0, dialMs: 30_000, jobsMs: 10_000, ...own },
        },
      );
      const browsers = new BrowserSessions({ log });
      const open = async (sessionId: string) => {
        const spec = { sessionId, agent: 'tester', limits, egress, kind: 'browser' as const };
        return await sandboxes.open(spec, new AbortController().signal);
      };
      const worker: BrowserWorker = {
        browsers,
        open,
        use: async (sessionId, command, { timeoutMs = 40_000, signal = new AbortController().signal, onHost } = {}) => {
          const call = { command, timeoutMs, signal, ...(onHost === undefined ? {} : { onHost }) };
          const { reply, isNew } = await browsers.call(sessionId, await open(sessionId), call);
          return { ...reply, isNew };
        },
        close: async () => {
          await browsers[Symbol.asyncDispose]();
          await sandboxes[Symbol.asyncDispose]();
        },
      };
      workers.push(worker);
      return worker;
    },
    removeContainers,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map(async (worker) => await worker.close()));
      await removeContainers();
      await sender[Symbol.asyncDispose]();
      vault.closeAllConnections();
      await new Promise((resolve) => vault.close(resolve));
      await shop[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The only names there are. */
const lookupShop: LookupFunction = (hostname, _options, done) => {
  if (hostname === 'shop.test' || hostname === 'secure.test') done(null, [{ address: '127.0.0.1', family: 4 }]);
  else done(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' }), []);
};
