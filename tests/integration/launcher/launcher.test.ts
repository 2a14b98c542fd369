import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const repository = path.resolve(import.meta.dirname, '../../..');
/** What a plain Debian has and the launcher may use. */
const systemTools = [
  'sh',
  'cat',
  'cksum',
  'dirname',
  'env',
  'id',
  'kill',
  'mkdir',
  'mv',
  'ps',
  'pwd',
  'readlink',
  'rm',
  'rmdir',
  'sleep',
  'uname',
];
const lockfile = { lockfileVersion: 3, packages: { '': { name: 'x' }, 'node_modules/a': { version: '1.0.0' } } };

let tree = '';
let bin = '';

/** A checkout with the real launcher, a program that says how it was run, and a PATH we fill ourselves. */
beforeEach(() => {
  const base = mkdtempSync(path.join(tmpdir(), 'switchyard-launcher-'));
  tree = path.join(base, 'check out');
  bin = path.join(base, 'bin');
  for (const folder of ['app', 'deploy', 'node_modules/vitest'])
    mkdirSync(path.join(tree, folder), { recursive: true });
  mkdirSync(bin);
  for (const file of ['switchyard', 'deploy/is-installed.mjs'])
    copyFileSync(path.join(repository, file), path.join(tree, file));
  write('package-lock.json', JSON.stringify(lockfile));
  write('node_modules/.package-lock.json', JSON.stringify(lockfile));
  write(
    'app/switchyard.main.ts',
    'console.log(JSON.stringify({ args: process.argv.slice(2), node: process.execPath, cwd: process.cwd() }));',
  );
  for (const tool of systemTools) {
    const real = ['/usr/bin', '/bin'].map((folder) => path.join(folder, tool)).find(existsSync);
    if (real !== undefined) symlinkSync(real, path.join(bin, tool));
  }
});
afterEach(() => rmSync(path.dirname(tree), { recursive: true, force: true }));

function write(file: string, text: string): void {
  writeFileSync(path.join(tree, file), text);
}

/** A command on the PATH that writes down how it was called and then runs `body`. */
function fake(name: string, body: string): void {
  const file = path.join(bin, name);
  rmSync(file, { force: true });
  writeFileSync(file, `#!/bin/sh\necho "${name} $*" >>"${path.join(bin, 'calls')}"\n${body}\n`);
  chmodSync(file, 0o755);
}

function calls(): string[] {
  const file = path.join(bin, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

const useNode24 = (): void => symlinkSync(process.execPath, path.join(bin, 'node'));
const useOldNode = (): void => fake('node', 'echo v20.20.2');
/** An npm that "installs" a working Node into the folder it runs in. */
const npmThatInstalls = `mkdir -p node_modules/.bin && ln -sf "${process.execPath}" node_modules/.bin/node`;

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function launch(
  args: string[],
  options: { readonly env?: Record<string, string>; readonly cwd?: string } = {},
): Promise<Run> {
  const child = spawn(path.join(tree, 'switchyard'), args, {
    cwd: options.cwd ?? tree,
    env: { PATH: bin, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

test('a system Node 24 runs the program with its arguments and in the folder of the caller', async () => {
  useNode24();
  const run = await launch(['chat', '--message', 'a b', '--yes'], { cwd: '/' });
  expect(run.stderr).toBe('');
  expect(JSON.parse(run.stdout)).toEqual({
    args: ['chat', '--message', 'a b', '--yes'],
    node: process.execPath,
    cwd: '/',
  });
});

test('it finds its checkout when started through a symbolic link', async () => {
  useNode24();
  const link = path.join(bin, 'switchyard');
  symlinkSync(path.join(tree, 'switchyard'), link);
  const child = spawn(link, ['doctor'], { env: { PATH: bin }, stdio: 'ignore' });
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
});

test('an older system Node is passed over for its own copy', async () => {
  useOldNode();
  const own = path.join(tree, '.switchyard/toolchain/node_modules/.bin');
  mkdirSync(own, { recursive: true });
  symlinkSync(process.execPath, path.join(own, 'node'));
  expect((await launch(['doctor'])).code).toBe(0);
  expect(calls()).toEqual(['node --version']);
});

test('without Node 24 it installs its own copy once, in a folder where npm may run its install script', async () => {
  useOldNode();
  fake('npm', npmThatInstalls);
  symlinkSync('/bin/ln', path.join(bin, 'ln'));
  expect(await launch(['doctor'])).toMatchObject({ code: 0 });
  expect(await launch(['doctor'])).toMatchObject({ code: 0, stderr: '' });
  expect(calls().filter((call) => call.startsWith('npm '))).toHaveLength(1);
  const manifest = JSON.parse(readFileSync(path.join(tree, '.switchyard/toolchain/package.json'), 'utf8')) as object;
  expect(manifest).toMatchObject({
    allowScripts: { node: true },
    dependencies: { node: expect.stringMatching(/^24\./) },
  });
});

test('an installation of Node that was cut short is not taken for a whole one', async () => {
  useOldNode();
  fake('npm', 'exit 1');
  const failed = await launch(['doctor']);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain('npm registry');
  expect(existsSync(path.join(tree, '.switchyard/toolchain'))).toBe(false);
  expect(existsSync(path.join(tree, '.switchyard/launcher.lock'))).toBe(false);
  fake('npm', npmThatInstalls);
  symlinkSync('/bin/ln', path.join(bin, 'ln'));
  expect((await launch(['doctor'])).code).toBe(0);
});

test('without npm and with nobody to ask it says what to do and installs nothing', async () => {
  useOldNode();
  fake('apt-get', 'exit 0');
  const run = await launch(['up']);
  expect(run.code).toBe(1);
  expect(run.stderr).toContain('apt-get install npm');
  expect(calls().filter((call) => call.startsWith('apt-get'))).toEqual([]);
});

test.runIf(process.getuid?.() === 0)('--yes and CI=true answer the question about system packages', async () => {
  useOldNode();
  fake(
    'apt-get',
    `[ "$1" = update ] || { printf '#!/bin/sh\\n${npmThatInstalls.replaceAll('"', '')}\\n' >"${bin}/npm" && /bin/chmod +x "${bin}/npm"; }`,
  );
  symlinkSync('/bin/ln', path.join(bin, 'ln'));
  expect((await launch(['up', '--yes'])).code).toBe(0);
  expect(calls()).toContain('apt-get install -y -q --no-install-recommends npm');
  rmSync(path.join(tree, '.switchyard'), { recursive: true });
  rmSync(path.join(bin, 'npm'));
  expect((await launch(['doctor'], { env: { CI: 'true' } })).code).toBe(0);
});

test.runIf(process.getuid?.() === 0)(
  'up installs Docker when it may, and without an answer goes on without',
  async () => {
    useNode24();
    fake('apt-get', 'exit 0');
    expect(await launch(['up'])).toMatchObject({ code: 0, stderr: '' });
    expect(calls()).toEqual([]);
    expect((await launch(['up', '--yes'])).code).toBe(0);
    expect(calls()).toContain('apt-get install -y -q --no-install-recommends docker.io');
  },
);

test('packages are installed when the lockfile changed, and only then', async () => {
  useNode24();
  const changed = JSON.stringify({ ...lockfile, packages: { 'node_modules/a': { version: '2.0.0' } } });
  write('package-lock.json', changed);
  fake('npm', `[ "$1" = install ] && cat package-lock.json >node_modules/.package-lock.json`);
  expect((await launch(['doctor'])).code).toBe(0);
  expect((await launch(['doctor'])).code).toBe(0);
  expect(calls()).toEqual(['npm install --no-save --no-audit --no-fund --no-update-notifier --loglevel=error']);
});

test('packages somebody installed by hand are kept', async () => {
  useNode24();
  const both = JSON.stringify({
    packages: {
      'node_modules/a': { version: '3.0.0' },
      'node_modules/for-another-platform': { version: '1.0.0', optional: true },
    },
  });
  write('package-lock.json', both);
  write('node_modules/.package-lock.json', JSON.stringify({ packages: { 'node_modules/a': { version: '3.0.0' } } }));
  fake('npm', 'exit 1');
  expect((await launch(['doctor'])).code).toBe(0);
  expect(calls()).toEqual([]);
});

test('a failed installation fails the start and is tried again at the next one', async () => {
  useNode24();
  rmSync(path.join(tree, 'node_modules/.package-lock.json'));
  fake('npm', 'exit 1');
  const run = await launch(['doctor']);
  expect(run).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('the packages could not be installed'),
  });
  fake('npm', `cat package-lock.json >node_modules/.package-lock.json`);
  expect((await launch(['doctor'])).code).toBe(0);
});

test('of many starts at once one installs and all run', async () => {
  useNode24();
  rmSync(path.join(tree, 'node_modules/.package-lock.json'));
  fake('npm', `sleep 0.5; cat package-lock.json >node_modules/.package-lock.json`);
  const runs = await Promise.all(Array.from({ length: 6 }, () => launch(['doctor'])));
  expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
  expect(calls()).toHaveLength(1);
});

test('a lock left by a start that died does not hold up the next ones', async () => {
  useNode24();
  rmSync(path.join(tree, 'node_modules/.package-lock.json'));
  fake('npm', `cat package-lock.json >node_modules/.package-lock.json`);
  mkdirSync(path.join(tree, '.switchyard/launcher.lock'), { recursive: true });
  // Above the largest process id Linux gives out.
  write('.switchyard/launcher.lock/pid', '4194305\n');
  const runs = await Promise.all(Array.from({ length: 4 }, () => launch(['doctor'])));
  expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  expect(calls()).toHaveLength(1);
});

test('a prepared checkout starts without delay: Node is asked for its version and runs the program, nothing else is', async () => {
  fake('node', `exec "${process.execPath}" "$@"`);
  await launch(['doctor']);
  const before = calls().length;
  for (const name of ['npm', 'sleep', 'ps', 'mkdir', 'mv', 'rm']) fake(name, 'exit 1');
  expect(await launch(['doctor'])).toMatchObject({ code: 0, stderr: '' });
  expect(calls().slice(before)).toEqual(['node --version', `node ${path.join(tree, 'app/switchyard.main.ts')} doctor`]);
});

/** What `test` looks for is all there. */
function provideTestTools(): void {
  for (const tool of ['redis-server', 'docker', 'docker-compose', 'iptables', 'debootstrap', 'chromium'])
    fake(tool, 'exit 0');
}

test('test runs the static checks and the tests, and fails when either fails', async () => {
  useNode24();
  provideTestTools();
  const vitest = (code: number): void =>
    write('node_modules/vitest/vitest.mjs', `console.log('vitest', ...process.argv.slice(2)); process.exit(${code});`);
  fake('npm', 'exit 0');
  vitest(0);
  expect(await launch(['test'])).toMatchObject({ code: 0, stdout: 'vitest run\n' });
  expect(calls()).toEqual(['npm run --silent check:static']);
  vitest(1);
  expect((await launch(['test'])).code).toBe(1);
  fake('npm', 'exit 3');
  vitest(0);
  expect(await launch(['test'])).toMatchObject({ code: 3, stdout: 'vitest run\n' });
});

test('test with arguments runs those tests only', async () => {
  useNode24();
  provideTestTools();
  fake('npm', 'exit 1');
  write('node_modules/vitest/vitest.mjs', `console.log('vitest', ...process.argv.slice(2));`);
  const run = await launch(['test', '--yes', '--project', 'unit', 'tests/a b.test.ts']);
  expect(run).toMatchObject({ code: 0, stdout: 'vitest run --project unit tests/a b.test.ts\n' });
});

test('test without what it needs, and nobody to ask, names what is missing', async () => {
  useNode24();
  const run = await launch(['test']);
  expect(run.code).toBe(1);
  expect(run.stderr).toContain('redis-server');
});
