import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

const repository = path.resolve(import.meta.dirname, '../..');

const serviceSchema = z.looseObject({
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.unknown()).optional(),
  healthcheck: z.unknown().optional(),
  ports: z.array(z.unknown()).optional(),
  volumes: z.array(z.unknown()).optional(),
});
const composeSchema = z.looseObject({ services: z.record(z.string(), serviceSchema) });
export type ComposeFile = z.infer<typeof composeSchema>;

/** What the compose program makes of `docker-compose.yml`, or its complaint. Needs no engine. */
export function readCompose(env: Readonly<Record<string, string>>): {
  readonly file: ComposeFile | undefined;
  readonly complaint: string;
} {
  // Read from an empty folder: a developer's own .env must not decide what comes out.
  const folder = mkdtempSync(path.join(tmpdir(), 'switchyard-compose-'));
  try {
    copyFileSync(path.join(repository, 'docker-compose.yml'), path.join(folder, 'docker-compose.yml'));
    const options = { cwd: folder, env: { PATH: process.env['PATH'], ...env }, encoding: 'utf8' } as const;
    const isPlugin = spawnSync('docker', ['compose', 'version'], options).status === 0;
    const run = isPlugin
      ? spawnSync('docker', ['compose', 'config'], options)
      : spawnSync('docker-compose', ['config'], options);
    if (run.error !== undefined) throw run.error;
    if (run.status !== 0) return { file: undefined, complaint: run.stderr };
    return { file: composeSchema.parse(parseYaml(run.stdout)), complaint: '' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
