import { expect, test } from 'vitest';
import type { CliDeps, SandboxOffice } from '#cli/cli-deps.ts';
import { runProgram } from '#cli/run-program.ts';
import { printTable } from '#cli/terminal.ts';
import { AppError } from '#core/kit/errors.ts';

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command line with every dependency refusing, except those given. */
async function run(argv: string[], deps: Partial<CliDeps> = {}, showStack = false): Promise<Run> {
  let stdout = '';
  let stderr = '';
  const terminal = {
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
    hasColour: false,
  };
  const refuse = () => {
    throw new Error('this command was not to use that');
  };
  const all: CliDeps = {
    version: '1.2.3',
    installDir: '/nowhere',
    terminal,
    signal: new AbortController().signal,
    start: refuse,
    diagnose: refuse,
    readSettings: refuse,
    openDatabase: refuse,
    findGateway: refuse,
    loadAgents: refuse,
    listTools: refuse,
    slackManifest: refuse,
    readVariables: refuse,
    describeInvalid: refuse,
    openQuestions: refuse,
    readStdin: refuse,
    openKek: refuse,
    openSkills: refuse,
    testSkill: refuse,
    listHooks: async () => [],
    openMcp: refuse,
    checkImage: refuse,
    readBill: refuse,
    openSandboxes: refuse,
    ...deps,
  };
  const code = await runProgram(all, argv, { showStack });
  return { code, stdout, stderr };
}

test('help and version need nothing and succeed', async () => {
  expect(await run(['--version'])).toMatchObject({ code: 0, stdout: '1.2.3\n' });
  const { code, stdout } = await run(['--help']);
  expect(code).toBe(0);
  for (const command of ['up', 'gateway', 'worker', 'doctor', 'config', 'bench', 'sandbox'])
    expect(stdout).toContain(command);
});

test('an unknown command fails and names the nearest one', async () => {
  const { code, stderr } = await run(['docter']);
  expect(code).toBe(1);
  expect(stderr).toContain('doctor');
});

test.each([
  ['up', 'all'],
  ['gateway', 'gateway'],
  ['worker', 'worker'],
] as const)('%s runs the parts of "%s" until the signal', async (command, mode) => {
  const started: string[] = [];
  const { code } = await run([command], { start: async (asked) => void started.push(asked) });
  expect({ code, started }).toEqual({ code: 0, started: [mode] });
});

test('doctor fails only when something is broken, and prints one mend per finding', async () => {
  const findings = [
    { name: 'Node', status: 'ok', detail: '24' },
    { name: 'Model', status: 'warn', detail: 'demo', mend: 'Set a key.' },
  ] as const;
  const fine = await run(['doctor'], { diagnose: async () => findings });
  expect(fine).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/✓ Node {6}24\n! Model {5}demo\n +Set a key\.\n/),
  });
  const broken = { name: 'Port', status: 'broken', detail: 'in use', mend: 'Choose another.' } as const;
  const bad = await run(['doctor', '--json'], { diagnose: async () => [...findings, broken] });
  expect(bad.code).toBe(1);
  expect(JSON.parse(bad.stdout)).toEqual({ ok: false, findings: [...findings, broken] });
});

test('a known error is its message and its mend, without a stack', async () => {
  const start = async () => {
    throw new AppError('config.invalid', 'The port is taken.', { mend: 'Choose another.' });
  };
  expect(await run(['up'], { start })).toEqual({
    code: 1,
    stdout: '',
    stderr: 'The port is taken.\nChoose another.\n',
  });
  expect((await run(['up'], { start }, true)).stderr).toContain('at ');
});

test('an error nobody classified says how to see more', async () => {
  const start = async () => {
    throw new TypeError('x is not a function');
  };
  const { code, stderr } = await run(['up'], { start });
  expect(code).toBe(1);
  expect(stderr).toBe('x is not a function\nRun again with LOG_LEVEL=debug to see where.\n');
});

test('what strangers wrote cannot send escape sequences to the terminal', async () => {
  let out = '';
  const terminal = {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: () => true },
    hasColour: false,
  };
  printTable(terminal, ['NAME', 'WHAT'], [['a\u001b[2Jb', 'c\nd\u009b31m']]);
  expect(out).toBe('NAME    WHAT\na [2Jb  c d 31m\n');
});

test('a painted cell is as wide as a plain one, and what it holds is still cleaned', () => {
  let out = '';
  const write = (text: string) => (out += text);
  const cells = [{ text: 'a\u001b[2J', format: 'cyan' } as const, 'x'];
  printTable({ stdout: { write }, stderr: { write }, hasColour: true }, ['LONG NAME', 'B'], [cells]);
  expect(out.split('\n')[1]).toBe('\u001b[36ma [2J    \u001b[39m  x');
});

const openOffice = async (): Promise<SandboxOffice> => {
  const line = {
    id: 'c1',
    sessionId: 's',
    agent: 'coder',
    kind: 'core',
    state: 'running',
    host: 'here',
    instance: '/data',
    isOurs: true,
    memoryUsedMb: 12.3,
    memoryMb: 512,
    processesUsed: 60,
    processes: 64,
    diskUsedMb: undefined,
    diskMb: 1024,
    disk: 'loop',
    createdAt: new Date(Date.now() - 3 * 3_600_000 - 5_000).toISOString(),
  };
  return {
    list: async () => ({ sandboxes: [line, { ...line, sessionId: '', createdAt: 'unknown' }], away: ['far is away.'] }),
    sessionOf: async (text) => text,
    describe: async () => [],
    shell: async (_, { command }) => (command === 'exit 7' ? 7 : 0),
    remove: async () => 1,
    prune: async () => ({ removed: 1, cleared: 2, forgotten: 0 }),
    [Symbol.asyncDispose]: async () => undefined,
  };
};

test('the containers are listed with an age people can read, whatever a label says', async () => {
  const { stdout } = await run(['sandbox', 'list'], { openSandboxes: openOffice });
  expect(stdout).toMatch(/coder {2}here {2}12\/512 +60\/64 ! +-\/1024 loop {2}3h +s\n/);
  expect(stdout).toMatch(/coder {2}here {2}12\/512 +60\/64 ! +-\/1024 loop {2}- +\(ready for one\)\n/);
});

test('a host that is away is told beside the list, not in it', async () => {
  const { stdout, stderr, code } = await run(['sandbox', 'list'], { openSandboxes: openOffice });
  expect({ code, stderr }).toEqual({ code: 0, stderr: 'far is away.\n' });
  expect(stdout).not.toContain('away');
});

test('the exit code of a shell is the command’s', async () => {
  expect((await run(['sandbox', 'shell', 's', '-c', 'exit 7'], { openSandboxes: openOffice })).code).toBe(7);
});

test('a terminal of an agent is watched, and typed into only when told', async () => {
  const asked: unknown[] = [];
  const openSandboxes = async () => ({
    ...(await openOffice()),
    shell: async (_: string, how: unknown) => {
      asked.push(how);
      return 0;
    },
  });
  const shell = async (...args: string[]) => await run(['sandbox', 'shell', 's', ...args], { openSandboxes });
  expect((await shell('--terminal', 'main')).code).toBe(0);
  expect((await shell('--terminal', 'main', '--write')).code).toBe(0);
  expect(asked).toMatchObject([
    { kind: 'core', isInteractive: true, command: expect.stringContaining("-f read-only,ignore-size -t '=main'") },
    { kind: 'core', isInteractive: true, command: expect.stringContaining("-f ignore-size -t '=main'") },
  ]);
  for (const wrong of [
    ['--write'],
    ['--terminal', "x'; id"],
    ['--terminal', 'x', '-c', 'ls'],
    ['--terminal', 'x', '--browser'],
  ]) {
    expect((await shell(...wrong)).code, wrong.join(' ')).toBe(1);
  }
  expect(asked).toHaveLength(2);
});

test('files are not deleted where nobody can be asked, unless told', async () => {
  const deps = { openSandboxes: openOffice, openQuestions: () => undefined };
  expect(await run(['sandbox', 'rm', 's', '--workspace'], deps)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--yes'),
  });
  expect((await run(['sandbox', 'rm', 's', '--workspace', '--yes'], deps)).stdout).toContain('The files are deleted.');
  expect((await run(['sandbox', 'rm', 's'], deps)).stdout).toContain('1 container of s removed. The files are kept.');
});

test('an unknown bench is refused with the list', async () => {
  expect(await run(['bench', 'nothing'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('There is no bench "nothing"'),
  });
});
