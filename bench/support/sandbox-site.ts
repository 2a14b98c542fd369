import { spawnSync } from 'node:child_process';
import type { LookupFunction } from 'node:net';
import path from 'node:path';
import { pino } from 'pino';
import { openMigrated } from '#app/database-source.ts';
import { browserImage, sandboxImage } from '#app/sandbox-image.ts';
import { type SandboxLimits, sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { type EgressRule, egressRuleSchema } from '#core/egress/egress-rule.ts';
import { systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import { newId } from '#core/kit/ids.ts';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { EgressJournal } from '#workers/egress/egress-journal.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { openHopSender } from '#workers/egress/send-hop.ts';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine, removeContainer } from '#workers/sandbox/docker-engine.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { OpenGateway, Sandbox, SandboxSpec } from '#workers/sandbox/sandbox.ts';
import type { SandboxLimitValues } from '#workers/sandbox/sandbox-limits.ts';
import { Stage } from './stage.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** Names this bench's installations; what follows is the process that runs it. */
const instancePrefix = 'bench-sandbox-';

/** Name that the gateway's sandboxes know the upstream of this bench by. */
export const upstreamName = 'upstream.test';

export const log = pino({ level: process.env['BENCH_LOG'] ?? 'silent' });
export const { signal } = new AbortController();

/** What a turn gives for a session of an agent with default limits. */
export function specOf(
  sessionId: string,
  rest: Partial<Omit<SandboxSpec, 'limits'>> & { readonly limits?: Partial<SandboxLimits> } = {},
): SandboxSpec {
  return { agent: 'bench', ...rest, sessionId, limits: sandboxLimitsSchema.parse(rest.limits ?? {}) };
}

/** One tool call: the session's sandbox is looked up and a command that does nothing is run in it. */
export async function callTool(sandboxes: DockerSandboxes, spec: SandboxSpec, command = 'true'): Promise<Sandbox> {
  const sandbox = await sandboxes.open(spec, signal);
  const { exitCode } = await sandbox.exec({ command, timeoutMs: 30_000, outputBytesMax: 65_536, signal });
  if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}`);
  return sandbox;
}

/** Everything a worker's sandboxes need, as the product puts it together: real engine, database, gateway. */
export class SandboxSite implements AsyncDisposable {
  readonly db: Db;
  readonly openGateway: OpenGateway;
  readonly #stage: Stage;
  readonly #stack: AsyncDisposableStack;
  readonly #instance = `${instancePrefix}${process.pid}`;
  #workers = 0;

  private constructor(parts: { stage: Stage; stack: AsyncDisposableStack; db: Db; openGateway: OpenGateway }) {
    this.#stage = parts.stage;
    this.#stack = parts.stack;
    this.db = parts.db;
    this.openGateway = parts.openGateway;
  }

  /** Builds the images that are missing and removes what an earlier run left when it was killed. */
  static async open(options: { readonly hasBrowser: boolean }): Promise<SandboxSite> {
    const build = spawnSync(path.join(root, 'sandbox-image/build'), options.hasBrowser ? ['--all'] : [], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (build.status !== 0) throw new Error('The sandbox images could not be built; see above.');
    await removeLeftovers();
    const stack = new AsyncDisposableStack();
    const stage = stack.use(new Stage());
    const url = await stage.startPostgres();
    const { db } = stack.use(
      await openMigrated({ url, kind: 'external' }, { connectionsMax: 4, applicationName: 'bench', log }),
    );
    const reach: Reach = { guard: createAddressGuard({ open: ['127.0.0.1/32'] }), lookup: lookupUpstream };
    const journal = stack.use(
      new EgressJournal({ db, log, clock: systemClock }, { requestsPerMinute: 1e6, bytesPerDay: 1e12 }),
    );
    const sender = stack.use(openHopSender(reach));
    const credentials = { resolve: async () => await Promise.reject(new Error('there are none')) };
    return new SandboxSite({
      stage,
      stack,
      db,
      openGateway: createOpenGateway({ log, journal, credentials, sender, reach }),
    });
  }

  /** A worker's sandboxes with the product's defaults but for `limits`. It ends with the site. */
  worker(limits: Partial<SandboxLimitValues> = {}): DockerSandboxes {
    const folder = path.join(this.#stage.folder, String(++this.#workers));
    const dockerHost = process.env['DOCKER_HOST'];
    return new DockerSandboxes(
      { log, places: openPlaces({ db: this.db }) },
      {
        ...(dockerHost === undefined ? {} : { dockerHost }),
        image: sandboxImage,
        browserImage,
        instance: this.#instance,
        socketDirectory: path.join(folder, 's'),
        workspaceDirectory: path.join(folder, 'w'),
        openGateway: this.openGateway,
        limits,
      },
    );
  }

  /** Removes what a worker made. */
  async end(sandboxes: DockerSandboxes, sessions: readonly string[]): Promise<void> {
    await sandboxes.removeAll();
    await sandboxes[Symbol.asyncDispose]();
    const last = this.worker();
    for (const sessionId of sessions) await last.forget(sessionId);
    await last[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeContainers((instance) => instance === this.#instance);
    await this.#stack.disposeAsync();
  }
}

export function newSession(): string {
  return newId();
}

export function upstreamRule(port: number): EgressRule {
  return egressRuleSchema.parse({ host: upstreamName, methods: ['*'], ports: [port] });
}

/** The only name there is. */
const lookupUpstream: LookupFunction = (hostname, _options, done) => {
  if (hostname === upstreamName) done(null, [{ address: '127.0.0.1', family: 4 }]);
  else done(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' }), []);
};

async function removeLeftovers(): Promise<void> {
  await removeContainers((instance) => {
    const pid = instance.startsWith(instancePrefix) ? Number(instance.slice(instancePrefix.length)) : Number.NaN;
    return Number.isInteger(pid) && !isAlive(pid);
  });
}

async function removeContainers(isIts: (instance: string) => boolean): Promise<void> {
  const engine = openEngine(process.env['DOCKER_HOST']);
  const all = await engine.listContainers({ all: true, filters: { label: [labels.instance] } });
  for (const { Id, Labels } of all) if (isIts(Labels[labels.instance] ?? '')) await removeContainer(engine, Id);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
