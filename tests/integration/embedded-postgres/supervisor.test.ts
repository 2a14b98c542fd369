import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { findClusterPlace } from '#app/embedded-postgres/cluster-place.ts';
import { processIdentity } from '#app/embedded-postgres/process-identity.ts';
import { findSupervisedUrl, readPostmasterFile } from '#app/embedded-postgres/running-server.ts';
import { openEmbeddedPostgres } from '#app/embedded-postgres/supervisor.ts';
import { createPool } from '#core/kit/database.ts';
import { eventually } from '#tests/support/eventually.ts';

const log = pino({ level: 'silent' });
/** A user every system has, without rights or a home. */
const nobody = 65_534;
const folders: string[] = [];
const children: ChildProcess[] = [];
/** The backends of a killed server may still write for a moment. */
const removal = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 } as const;

/** A data directory of its own, below the system's folder for temporary files. */
function newDataDir(mode = 0o755): string {
  const folder = mkdtempSync('/tmp/switchyard-supervisor-');
  chmodSync(folder, mode);
  folders.push(folder);
  return path.join(folder, 'data');
}

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) {
    const { cluster } = findClusterPlace(path.join(folder, 'data'));
    const server = readPostmasterFile(cluster);
    if (server !== undefined) await killServer(server.pid);
    // The cluster's own parent, which lies outside for a folder the server's user cannot enter.
    rmSync(path.dirname(cluster), removal);
    rmSync(folder, removal);
  }
});

async function killServer(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return;
  }
  await eventually(() => expect(processIdentity(pid)).toBeUndefined());
}

interface Held {
  readonly url?: string;
  readonly isReused?: boolean;
  readonly pid?: number;
  readonly code?: string;
  readonly message?: string;
  readonly mend?: string;
}

/** Opens the database in a process of its own, so that it can be killed. */
async function hold(dataDir: string, uid?: number): Promise<{ readonly child: ChildProcess; readonly held: Held }> {
  const script = path.join(import.meta.dirname, 'hold-database.main.ts');
  const user = uid === undefined ? {} : { uid, gid: uid, env: { PATH: process.env['PATH'], HOME: '/nonexistent' } };
  const child = spawn(process.execPath, [script, dataDir], { stdio: ['ignore', 'pipe', 'inherit'], ...user });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { child, held: JSON.parse(line) as Held };
  throw new Error('the process ended without a word');
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const pool = createPool({ url, connectionsMax: 1, applicationName: 'test', log });
  try {
    return (await pool.query<Record<string, unknown>>(text)).rows;
  } finally {
    await pool.end();
  }
}

test('rows survive an orderly stop, and the port stays the same', async () => {
  const dataDir = newDataDir();
  let url: string;
  {
    await using database = await openEmbeddedPostgres({ dataDir, log });
    url = database.url;
    await query(url, 'create table kept (id integer)');
    await query(url, 'insert into kept values (7)');
  }
  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(database.url).toBe(url);
  expect(database.isReused).toBe(false);
  expect(await query(database.url, 'select id from kept')).toEqual([{ id: 7 }]);
});

test('a warm start takes less than a second', async () => {
  const dataDir = newDataDir();
  await (await openEmbeddedPostgres({ dataDir, log }))[Symbol.asyncDispose]();
  // A machine that is held up starts late now and then, but not each time.
  await eventually(async () => {
    const startedAt = performance.now();
    await using _database = await openEmbeddedPostgres({ dataDir, log });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

test('a second process on the same data is refused, and told which process holds it', async () => {
  const dataDir = newDataDir();
  const first = await hold(dataDir);
  const second = await hold(dataDir);
  expect(second.held.code).toBe('config.invalid');
  expect(second.held.message).toContain(`process ${first.child.pid}`);
  expect(second.held.mend).toContain('SWITCHYARD_DATA_DIR');
  expect(await query(first.held.url ?? '', 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('of four processes that start at once exactly one gets the data', async () => {
  const dataDir = newDataDir();
  const started = await Promise.all([hold(dataDir), hold(dataDir), hold(dataDir), hold(dataDir)]);
  expect(started.filter(({ held }) => held.url !== undefined)).toHaveLength(1);
  expect(started.filter(({ held }) => held.code === 'config.invalid')).toHaveLength(3);
});

test('a server that outlived its killed supervisor is taken over with all its data', async () => {
  const dataDir = newDataDir();
  const first = await hold(dataDir);
  await query(first.held.url ?? '', 'create table kept (id integer)');
  first.child.kill('SIGKILL');
  await eventually(() => expect(processIdentity(first.child.pid ?? 0)).toBeUndefined());

  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(database.isReused).toBe(true);
  expect(database.pid).toBe(first.held.pid);
  expect(await query(database.url, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }]);
});

test('a taken-over server is stopped with its new supervisor', async () => {
  const dataDir = newDataDir();
  const first = await hold(dataDir);
  first.child.kill('SIGKILL');
  await eventually(() => expect(processIdentity(first.child.pid ?? 0)).toBeUndefined());
  const database = await openEmbeddedPostgres({ dataDir, log });
  await database[Symbol.asyncDispose]();
  expect(processIdentity(database.pid)).toBeUndefined();
});

test('a server that is killed while in use comes back at the same address with what was committed', async () => {
  const dataDir = newDataDir();
  await using database = await openEmbeddedPostgres({ dataDir, log });
  const pool = createPool({ url: database.url, connectionsMax: 2, applicationName: 'test', log });
  await pool.query('create table kept (id integer)');
  await pool.query('insert into kept values (1)');
  const killed = database.pid;
  process.kill(killed, 'SIGKILL');
  // A backend of the killed server may answer once more before it notices.
  await eventually(() => expect(database.pid).not.toBe(killed), { interval: 20 });
  await eventually(async () => expect((await pool.query('select id from kept')).rows).toEqual([{ id: 1 }]), {
    interval: 100,
  });
  await pool.end();
});

test('a killed supervisor and server together lose nothing that was committed', async () => {
  const dataDir = newDataDir();
  const first = await hold(dataDir);
  await query(first.held.url ?? '', 'create table kept as select 5 as id');
  first.child.kill('SIGKILL');
  process.kill(first.held.pid ?? 0, 'SIGKILL');

  const second = await eventually(async () => {
    const { held } = await hold(dataDir);
    expect(held.code).toBeUndefined();
    return held;
  });
  expect(await query(second.url ?? '', 'select id from kept')).toEqual([{ id: 5 }]);
});

test('a remembered port that is taken meanwhile is replaced by another', async () => {
  const dataDir = newDataDir();
  const first = await openEmbeddedPostgres({ dataDir, log });
  const port = Number(new URL(first.url).port);
  await first[Symbol.asyncDispose]();
  const squatter = createServer();
  // Where another program was faster the port is taken as well.
  await new Promise<void>((resolve) => squatter.once('error', () => resolve()).listen(port, '127.0.0.1', resolve));

  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(new URL(database.url).port).not.toBe(String(port));
  expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  await new Promise((resolve) => squatter.close(resolve));
});

test('a lock whose process id now belongs to another process does not keep anyone out', async () => {
  const dataDir = newDataDir();
  await (await openEmbeddedPostgres({ dataDir, log }))[Symbol.asyncDispose]();
  // This very process lives, but started at another time than the lock says.
  writeFileSync(findClusterPlace(dataDir).lockFile, `${process.pid} 1 another-boot`);
  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('an initialisation that was cut short is started over', async () => {
  const dataDir = newDataDir();
  const { cluster } = findClusterPlace(dataDir);
  mkdirSync(`${cluster}.partial`, { recursive: true });
  writeFileSync(path.join(`${cluster}.partial`, 'PG_VERSION'), '18\n');
  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('data of another Postgres release is left alone with a word on how to move it', async () => {
  const dataDir = newDataDir();
  await (await openEmbeddedPostgres({ dataDir, log }))[Symbol.asyncDispose]();
  writeFileSync(path.join(findClusterPlace(dataDir).cluster, 'PG_VERSION'), '15\n');
  await expect(openEmbeddedPostgres({ dataDir, log })).rejects.toMatchObject({
    code: 'config.invalid',
    message: expect.stringContaining('Postgres 15'),
    mend: expect.stringContaining('pg_dump'),
  });
});

test('the password is readable by its owner only and is needed to connect', async () => {
  const dataDir = newDataDir();
  await using database = await openEmbeddedPostgres({ dataDir, log });
  const { passwordFile } = findClusterPlace(dataDir);
  expect(statSync(passwordFile).mode & 0o777).toBe(0o600);
  const url = database.url.replace(encodeURIComponent(readFileSync(passwordFile, 'utf8')), 'wrong');
  await expect(query(url, 'select 1')).rejects.toThrow(/password authentication failed/);
});

test('a command beside a running supervisor finds its database', async () => {
  const dataDir = newDataDir();
  expect(await findSupervisedUrl(dataDir)).toBeUndefined();
  const { child, held } = await hold(dataDir);
  expect(await findSupervisedUrl(dataDir)).toEqual({ url: held.url, pid: child.pid });
});

test('data below a folder that only its owner may enter works as well', async () => {
  const dataDir = newDataDir(0o700);
  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test.runIf(process.getuid?.() === 0)('what an ordinary user began, root carries on as that user', async () => {
  const dataDir = newDataDir(0o777);
  const first = await hold(dataDir, nobody);
  expect(first.held.message).toBeUndefined();
  await query(first.held.url ?? '', 'create table kept as select 3 as id');
  first.child.kill('SIGTERM');
  await eventually(() => expect(processIdentity(first.held.pid ?? 0)).toBeUndefined());
  await eventually(() => expect(processIdentity(first.child.pid ?? 0)).toBeUndefined());

  await using database = await openEmbeddedPostgres({ dataDir, log });
  expect(await query(database.url, 'select id from kept')).toEqual([{ id: 3 }]);
  expect(statSync(`/proc/${database.pid}`).uid).toBe(nobody);
});

test.runIf(process.getuid?.() === 0)('data of another user is refused with the mend', async () => {
  const dataDir = newDataDir(0o755);
  await (await openEmbeddedPostgres({ dataDir, log }))[Symbol.asyncDispose]();
  const { held } = await hold(dataDir, nobody);
  expect(held).toMatchObject({
    code: 'config.invalid',
    message: `The data directory ${dataDir} cannot be written to.`,
  });
});
