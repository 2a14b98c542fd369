import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { findPostgresBinaries } from '#app/embedded-postgres/postgres-binaries.ts';
import { initCluster, startServer } from '#app/embedded-postgres/postgres-process.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { migrateToLatest } from '#core/kit/migrate.ts';
import { freePort } from './free-port.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Server URL without a database name. */
    postgresUrl: string;
    redisUrl: string;
  }
}

/** Starts this run's own Postgres and Redis, and migrates the template every test file's database is cloned from. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(path.join(tmpdir(), 'switchyard-test-'));
  const binaries = findPostgresBinaries();
  if (binaries.runAs !== undefined) (await import('node:fs')).chmodSync(folder, 0o755);
  const dataDir = path.join(folder, 'postgres');
  await initCluster(binaries, { dataDir, password: 'test' });
  const server = await startServer(binaries, {
    dataDir,
    port: await freePort(),
    settings: ['max_connections=400', 'shared_buffers=256MB', 'fsync=off', 'synchronous_commit=on'],
    detached: false,
  });
  const postgresUrl = `postgres://switchyard:test@127.0.0.1:${server.port}`;

  const log = pino({ level: 'silent' });
  const admin = createPool({ url: `${postgresUrl}/postgres`, connectionsMax: 1, applicationName: 'setup', log });
  await admin.query('create database template_switchyard');
  await admin.end();
  const template = openDatabase(
    createPool({ url: `${postgresUrl}/template_switchyard`, connectionsMax: 2, applicationName: 'setup', log }),
  );
  await migrateToLatest(template);
  await template.destroy();

  const redisPort = await freePort();
  const redis = spawn(
    'redis-server',
    ['--port', String(redisPort), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve, reject) => {
    redis.once('error', reject);
    redis.once('exit', (code) => reject(new Error(`redis ended with ${code} before it was ready`)));
    redis.stdout.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('Ready to accept connections')) resolve();
    });
  });

  project.provide('postgresUrl', postgresUrl);
  project.provide('redisUrl', `redis://127.0.0.1:${redisPort}`);

  return async () => {
    redis.kill('SIGTERM');
    server.process.kill('SIGQUIT');
    await server.closed;
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
}
