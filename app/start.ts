import { rmSync, writeFileSync } from 'node:fs';
import type { ProcessMode } from '#cli/cli-deps.ts';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { applyAgents } from '#core/agents/apply-agents.ts';
import { aborted } from '#core/kit/aborted.ts';
import { armFailpoint } from '#core/kit/failpoint.ts';
import type { Log } from '#core/kit/log.ts';
import { createSetupCode } from '#core/people/create-setup-code.ts';
import { redactWrites } from '#core/redaction/redact-writes.ts';
import type { SkillLibrary } from '#core/skills/skill-library.ts';
import { builtInNames } from '#workers/hooks/built-in.ts';
import type { Hook } from '#workers/hooks/hook.ts';
import { gatewayParts, openGatewaySecrets } from './compose/gateway-parts.ts';
import { loadUserHooks } from './compose/open-hooks.ts';
import { openSkills } from './compose/open-skills.ts';
import { type PrepareSandboxDeps, prepareSandbox } from './compose/prepare-sandbox.ts';
import { type Part, runParts } from './compose/run-parts.ts';
import { openServices, type Services } from './compose/services.ts';
import { openWorker } from './compose/worker-parts.ts';
import { type Config, installDir } from './config.ts';
import { openDatabaseSource, openMigrated } from './database-source.ts';
import { gatewayFile } from './gateway-file.ts';
import { type Greeting, greetingText } from './greeting.ts';
import { loadProjectAgents } from './load-project-agents.ts';
import type { Redaction } from './open-redaction.ts';
import { memoryLimitOf, openSampler, type ProcessReading, type ProcessSample, ProcessWatch } from './process-watch.ts';

/** Why a process ended: somebody stopped it, or it must begin anew because of its memory. */
type ProcessEnd = 'stopped' | 'again';

/** Runs the parts of one process until the signal aborts or its memory is too large, then stops them in reverse order. */
export async function start(
  config: Config,
  mode: ProcessMode,
  own: { readonly log: Log; readonly redaction: Redaction },
  signal: AbortSignal,
  print: (text: string) => void,
): Promise<ProcessEnd> {
  const { log, redaction } = own;
  armFailpoint(config.failAt);
  for (const { name, asked, used } of config.limitClamps) log.warn({ name, asked, used }, 'limit out of bounds');
  // Read before anything is opened: a mistake in a file is told at once and leaves nothing behind.
  const profiles = await loadProjectAgents(config);
  await using userHooks = mode === 'gateway' ? undefined : await loadUserHooks(config, log);
  await using source = await openDatabaseSource(config, log);
  await using database = await openMigrated(source, {
    connectionsMax: config.limits.databaseConnectionsMax,
    applicationName: `switchyard-${mode}`,
    log,
  });
  const db = redactWrites(database.db, redaction.redactor);
  const applied = await applyAgents(db, profiles);
  log.info({ ...applied, unchanged: applied.unchanged.length }, 'agents applied');
  const services = await openServices({ config, log, db, databaseUrl: source.url, ...redaction });
  await using stack = new AsyncDisposableStack();
  stack.use(services.queue);

  using sampler = openSampler();
  const again = new AbortController();
  const watch = watchProcess(services, sampler);
  const parts: Part[] = [
    { name: 'process watch', run: async (own) => await watch.run(own, () => again.abort()) },
    { name: 'secrets', run: async (signal) => await services.secretWatch.run(signal) },
  ];
  if (mode !== 'gateway') {
    const worker = stack.use(await openWorker(services, userHooks?.hooks ?? []));
    await tellSkills(openSkills(config), profiles, log);
    tellUnknownHooks(userHooks?.hooks ?? [], profiles, log);
    parts.push(...worker.parts);
    if (mode === 'all')
      parts.push(
        sandboxPart({ sandboxes: worker.sandboxes, log, installDir, needsBrowser: needsBrowser(profiles), print }),
      );
  }
  if (mode !== 'worker')
    parts.push(...(await openGateway(services, mode, source.kind, { print, health: () => watch.reading })));
  log.info({ mode, database: source.kind, migrations: database.applied.length }, 'started');
  await runParts(parts, log, AbortSignal.any([signal, again.signal]));
  log.info({ mode }, 'stopped');
  return again.signal.aborted ? 'again' : 'stopped';
}

function watchProcess(
  { config, log, clock }: Services,
  { sample }: { readonly sample: () => ProcessSample },
): ProcessWatch {
  const { processMemoryMb, processOverSeconds, processRestartsMax } = config.limits;
  return new ProcessWatch(
    { log, clock, sample },
    {
      memoryLimitMb: memoryLimitOf(processMemoryMb, process.constrainedMemory()),
      overMs: processOverSeconds * 1000,
      restartsMax: processRestartsMax,
      restartedAt: config.restartedAt,
    },
  );
}

/** A skill that is not used is noticed at once, not when somebody misses it. */
async function tellSkills(library: SkillLibrary, profiles: readonly AgentProfile[], log: Log): Promise<void> {
  for (const profile of profiles) {
    for (const { name, scope, shadows, status } of await library.forAgent(profile)) {
      const skill = { skill: name, scope, agent: profile.name };
      if (status.state !== 'ready')
        log.warn({ ...skill, state: status.state, reason: status.reason }, 'skill not used');
      else if (shadows.length > 0) log.info({ ...skill, shadows }, 'skill takes the place of another');
    }
  }
}

/** A slip in `hooks.disable` of a profile leaves a hook running that somebody thinks is off. */
function tellUnknownHooks(own: readonly Hook[], profiles: readonly AgentProfile[], log: Log): void {
  const known = [...builtInNames, ...own.map((hook) => hook.name)];
  for (const { name: agent, hooks } of profiles) {
    for (const hook of hooks.disable) {
      if (!known.includes(hook)) log.warn({ agent, hook, known }, 'profile switches off a hook that does not exist');
    }
  }
}

async function openGateway(
  services: Services,
  mode: ProcessMode,
  database: Greeting['database'],
  { print, health }: { readonly print: (text: string) => void; readonly health: () => ProcessReading },
): Promise<readonly Part[]> {
  const { config, db, log } = services;
  const secrets = await openGatewaySecrets(config.dataDir);
  services.secrets.replace(
    'gateway',
    Object.entries(secrets).map(([label, value]) => ({ label, value })),
  );
  // Only `up` has a person at its terminal; elsewhere `pair --role owner` makes the code.
  const setupCode = mode === 'all' ? await createSetupCode({ db }) : undefined;
  const file = gatewayFile(config.dataDir);
  const parts = gatewayParts(services, secrets, health, (server) => {
    writeFileSync(file, JSON.stringify({ url: server.url, pid: process.pid }), { mode: 0o600 });
    log.info({ url: server.url }, 'ready');
    if (mode !== 'all') return;
    print(
      greetingText({
        url: server.url,
        loginToken: secrets.loginToken,
        setupCode,
        database,
        queue: config.queueBackend,
        model: config.defaultModel.text,
        hasTelegram: config.telegram !== undefined,
      }),
    );
  });
  return [
    {
      name: 'gateway file',
      run: async (signal) => {
        await aborted(signal);
        rmSync(file, { force: true });
      },
    },
    ...parts,
  ];
}

/** The image of browsers is large: it is made only where some agent has the tool. */
function needsBrowser(profiles: readonly { readonly tools: readonly string[] }[]): boolean {
  return profiles.some(({ tools }) => tools.includes('browser'));
}

function sandboxPart(deps: PrepareSandboxDeps): Part {
  return {
    name: 'sandbox image',
    run: async (signal) => {
      await prepareSandbox(deps, signal).catch((err: unknown) => {
        deps.log.warn({ err }, 'sandbox could not be prepared');
      });
      await aborted(signal);
    },
  };
}
