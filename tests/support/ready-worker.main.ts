import { pino } from 'pino';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

/** A worker process of its own that keeps one container ready, for tests that kill it. Arguments: the options as JSON. */
const options = JSON.parse(process.argv[2] ?? '{}');
const sandboxes = new DockerSandboxes({ log: pino({ level: 'silent' }) }, { ...options, limits: { poolSize: 1 } });
await sandboxes.keepReady(new AbortController().signal);
