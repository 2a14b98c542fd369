import { pino } from 'pino';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

/** A worker process of its own that keeps one container ready, for tests that kill it. Arguments: the options as JSON. */
const options = JSON.parse(process.argv[2] ?? '{}');
const sandboxes = new DockerSandboxes({ log: pino({ level: 'silent' }) }, { ...options, limits: { poolSize: 1 } });
// What waits in a worker does not keep its process alive; its database and its channels do.
setInterval(() => undefined, 60_000);
await sandboxes.keepReady(new AbortController().signal);
