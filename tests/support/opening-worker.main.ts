import { pino } from 'pino';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

/**
 * A worker process of its own that opens one session after the other and writes a file into each, for tests that kill it
 * anywhere. Arguments: the options and the sessions as JSON. A line with its id says that a session's file is written.
 */
const { databaseUrl, sessions, ...options } = JSON.parse(process.argv[2] ?? '{}');
const log = pino({ level: 'silent' });
const db = openDatabase(createPool({ url: databaseUrl, connectionsMax: 4, applicationName: 'opening-worker', log }));
const sandboxes = new DockerSandboxes({ log, places: openPlaces({ db }) }, { ...options, limits: { poolSize: 1 } });
const { signal } = new AbortController();
void sandboxes.keepReady(signal);
const limits = sandboxLimitsSchema.parse({ disk_mb: 32 });
for (const sessionId of sessions) {
  const sandbox = await sandboxes.open({ sessionId, agent: 'tester', limits }, signal);
  await sandbox.exec({ command: `echo ${sessionId} > file; sync`, timeoutMs: 10_000, outputBytesMax: 100, signal });
  process.stdout.write(`${sessionId}\n`);
}
