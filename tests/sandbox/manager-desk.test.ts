import { existsSync, readdirSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { attack, limit } from '#tests/support/attack.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';

let database: TestDatabase;
let stage: SandboxStage;
beforeAll(async () => {
  database = await openTestDatabase();
  stage = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A terminal that types what it is given and keeps what it is shown. */
function openTerminal(size?: { rows: number; columns: number }) {
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  let shown = '';
  let resized: () => void = () => undefined;
  stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
  });
  return {
    stdin,
    stdout,
    size: size === undefined ? undefined : () => size,
    onResize: (changed: () => void) => {
      resized = changed;
      return () => undefined;
    },
    resize: () => resized(),
    get shown() {
      return shown;
    },
  };
}

test('the list says what each sandbox uses of what it may, and to whom it belongs', async () => {
  const worker = stage.worker();
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId, { memory_mb: 128, disk_mb: 64 });
  await run(sandbox, 'head -c 20m /dev/urandom > file; sync');
  await using elsewhere = openSandboxStage();
  const theirs = elsewhere.newSession();
  await elsewhere.open(elsewhere.worker(), theirs);
  const { sandboxes, away } = await stage.worker().desk().list({ all: false });
  expect(away).toEqual([]);
  const mine = sandboxes.find((row) => row.sessionId === sessionId);
  expect(mine).toMatchObject({
    agent: 'tester',
    kind: 'core',
    state: 'running',
    host: 'local',
    memoryMb: 128,
    diskMb: 64,
    disk: 'loop',
  });
  expect(mine?.memoryUsedMb).toBeGreaterThan(0);
  expect(mine?.memoryUsedMb).toBeLessThan(128);
  expect(mine?.diskUsedMb).toBeGreaterThan(20);
  expect(mine?.diskUsedMb).toBeLessThan(64);
  expect(sandboxes.map((row) => row.sessionId)).not.toContain(theirs);
  const all = (await stage.worker().desk().list({ all: true })).sandboxes;
  expect(all.find((row) => row.sessionId === theirs)).toMatchObject({ isOurs: false, instance: elsewhere.instance });
});

describe('a session is found', () => {
  test('by the beginning of its id or its container’s, and not by one that fits several', async () => {
    const worker = stage.worker();
    const desk = worker.desk();
    const sessionId = stage.newSession();
    await stage.open(worker, sessionId);
    const container = (await stage.container(sessionId))?.Id ?? '';
    expect(await desk.sessionOf(sessionId)).toBe(sessionId);
    expect(await desk.sessionOf(sessionId.slice(0, 8))).toBe(sessionId);
    expect(await desk.sessionOf(container.slice(0, 12))).toBe(sessionId);
    await expect(desk.sessionOf('t-')).rejects.toMatchObject({ code: 'request.not_found' });
    await expect(desk.sessionOf('nowhere')).rejects.toMatchObject({ mend: expect.stringContaining('sandbox list') });
  });
});

describe('a shell', () => {
  test('is the agent’s, has the size of the terminal and its changes, and ends with the code it ends with', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    await stage.open(worker, sessionId);
    const size = { rows: 33, columns: 99 };
    const terminal = openTerminal(size);
    const code = worker.desk().shell(sessionId, terminal, { kind: 'core' });
    await eventually(() => expect(terminal.shown).toContain('$'));
    terminal.stdin.write('id -u; pwd; stty size\n');
    await eventually(() => expect(terminal.shown).toMatch(/10001\s+\/workspace\s+33 99/));
    Object.assign(size, { rows: 40, columns: 120 });
    terminal.resize();
    terminal.stdin.write('until stty size | grep "40 120"; do sleep 0.1; done\n');
    await eventually(() => expect(terminal.shown).toMatch(/^40 120/m));
    // Ctrl-C reaches what runs: the loop would go on for ever.
    terminal.stdin.write('while true; do echo alive-$((1+1)); sleep 0.1; done\n');
    await eventually(() => expect(terminal.shown).toContain('alive-2'));
    terminal.stdin.write('\u0003');
    // What is typed before the prompt is back may go to the loop.
    await eventually(() => expect(terminal.shown).toMatch(/\^C[^^]*\$ $/));
    terminal.stdin.write('exit 7\n');
    expect(await code).toBe(7);
  });

  test('of one command needs no terminal', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId), 'echo content > file');
    const terminal = openTerminal();
    const command = 'cat file; echo wrong >&2; exit 3';
    expect(await worker.desk().shell(sessionId, terminal, { kind: 'core', command })).toBe(3);
    await eventually(() => expect(terminal.shown).toContain('content\n'));
    expect(terminal.shown).toContain('wrong');
  });

  test('wakes a container that rests and keeps it awake while it is open', async () => {
    const worker = stage.worker({ pauseAfterMs: 100 });
    const sessionId = stage.newSession();
    const sandbox = await stage.open(worker, sessionId);
    const isPaused = async () => (await stage.container(sessionId))?.State.Paused;
    await eventually(async () => expect(await isPaused()).toBe(true));
    const terminal = openTerminal({ rows: 24, columns: 80 });
    const code = worker.desk().shell(sessionId, terminal, { kind: 'core' });
    await eventually(() => expect(terminal.shown).toContain('$'));
    await run(sandbox, 'true');
    await stage.othersRest(worker);
    expect(await isPaused()).toBe(false);
    terminal.stdin.write('exit\n');
    expect(await code).toBe(0);
  });

  test('for a session without a container is refused with the reason', async () => {
    const desk = stage.worker().desk();
    await expect(desk.shell('t-none', openTerminal(), { kind: 'core', command: 'true' })).rejects.toMatchObject({
      code: 'request.not_found',
    });
  });
});

test('removing the containers of a session keeps its files, and its worker goes on', async () => {
  const worker = stage.worker();
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId);
  await run(sandbox, 'echo kept > file');
  expect(await stage.worker().desk().removeContainers(sessionId)).toBe(1);
  await eventually(async () => expect((await run(sandbox, 'cat file')).output).toBe('kept\n'));
});

test('a workspace that an operator removed under a worker begins anew, known to everybody', async () => {
  const worker = stage.worker();
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId);
  await run(sandbox, 'echo old > file');
  await stage.worker().forget(sessionId);
  await eventually(async () => expect((await run(sandbox, 'ls -A')).output).toBe(''));
  expect(await openPlaces({ db: database.db }).find(sessionId)).toMatchObject({ host: 'local' });
});

test('what no worker holds is cleared away at once, and what one holds is left alone', async () => {
  // Apart from the workers of the other tests, whose sweeps would take the orphan over.
  await using own = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
  const [orphan, held] = [own.newSession(), own.newSession()];
  const gone = own.worker();
  await run(await own.open(gone, orphan), 'echo kept > file');
  await gone[Symbol.asyncDispose]();
  const living = own.worker();
  await own.open(living, held);
  const { removed } = await own.worker().sweep({ isThorough: true });
  expect(removed).toBeGreaterThanOrEqual(1);
  expect(await own.container(orphan)).toBeUndefined();
  expect((await own.container(held))?.State.Running).toBe(true);
  expect((await run(await own.open(living, orphan), 'cat file')).output).toBe('kept\n');
  expect(existsSync(own.workspaceDirectory) && readdirSync(own.workspaceDirectory).length).toBeGreaterThan(0);
});

attack(
  'sessions',
  'settings of the shell planted for an operator who comes in',
  'the shell reads none of the agent’s files',
  async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    const sandbox = await stage.open(worker, sessionId);
    await run(
      sandbox,
      `for f in ~/.bashrc ~/.profile ~/.bash_profile ~/.bash_login .bashrc; do echo "echo planted; PS1=Password:" > $f; done; printf '"x": "planted"\\n' > ~/.inputrc`,
    );
    const terminal = openTerminal({ rows: 24, columns: 80 });
    const code = worker.desk().shell(sessionId, terminal, { kind: 'core' });
    await eventually(() => expect(terminal.shown).toContain('$'));
    terminal.stdin.write('exit 5\n');
    expect(await code).toBe(5);
    expect(terminal.shown).not.toMatch(/planted|Password/);
  },
);

limit(
  'sessions',
  'the terminal of an operator who comes in',
  'the shell is the agent’s user, who can write to it and read it: type no secret there',
  async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    const sandbox = await stage.open(worker, sessionId);
    const terminal = openTerminal({ rows: 24, columns: 80 });
    const code = worker.desk().shell(sessionId, terminal, { kind: 'core' });
    await eventually(() => expect(terminal.shown).toContain('$'));
    await run(sandbox, 'for t in /dev/pts/[0-9]*; do echo "from the agent" > $t; done');
    await eventually(() => expect(terminal.shown).toContain('from the agent'));
    // Its own terminal and no other: nothing of the host is reached by it.
    expect((await run(sandbox, 'stat -c %u /dev/pts/[0-9]* | sort -u')).output).toBe('10001\n');
    terminal.stdin.write('exit 0\n');
    expect(await code).toBe(0);
  },
);
