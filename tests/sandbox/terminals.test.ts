import { afterAll, beforeAll, expect, test } from 'vitest';
import { attachTerminalCommand, terminalSocket } from '#core/sandboxes/terminal-socket.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { toolUser } from '#tests/support/use-tool.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let database: TestDatabase;
let sandbox: Sandbox;
let use: (args: object) => Promise<string>;

beforeAll(async () => {
  database = await openTestDatabase(2);
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
  const user = toolUser({ db: database.db, sandbox: () => sandbox });
  use = async (args) => (await user('terminal', args)).text;
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

test('an interactive program is typed to over several calls, and each returns what is new', async () => {
  expect(await use({ action: 'open', name: 'py', command: 'python3 -q' })).toMatch(/^Opened py\. py runs\.\n>>>$/);
  expect(await use({ action: 'send', name: 'py', text: 'x = 6 * 7\n' })).not.toContain('42');
  expect(await use({ action: 'send', name: 'py', text: 'print(x)\n', wait_for: '^42$' })).toMatch(/print\(x\)\n42/);
  const late = 'import time; time.sleep(1); print("do" + "ne")\n';
  expect(await use({ action: 'send', name: 'py', text: late, wait_for: '^done$', timeout_seconds: 30 })).toContain(
    '\ndone',
  );
  expect(await use({ action: 'send', name: 'py', text: 'x', wait_for: 'never', timeout_seconds: 1 })).toContain(
    'nothing new matches never',
  );
  expect(await use({ action: 'send', name: 'py', keys: ['C-c'] })).toContain('KeyboardInterrupt');
  expect(await use({ action: 'list' })).toBe('py: runs python3');
  expect(await use({ action: 'send', name: 'py', keys: ['C-d'], wait_for: 'never', timeout_seconds: 20 })).toMatch(
    /^Its program has ended/,
  );
  expect(await use({ action: 'close', name: 'py' })).toContain('Closed py');
  expect(await use({ action: 'list' })).toBe('No terminals.');
  await expect(use({ action: 'read', name: 'py' })).rejects.toMatchObject({
    message: 'There is no terminal py.',
    mend: expect.stringContaining('end with their sandbox'),
  });
  // The server goes with the last terminal, so that the sandbox can rest.
  await eventually(async () => {
    const jobs = await sandbox.listJobs(new AbortController().signal);
    expect(jobs.filter((job) => job.state === 'running')).toEqual([]);
  });
});

test('what a program draws is plain text, a line that was wrapped is whole, and a text is typed as it is', async () => {
  await use({ action: 'open', name: 'raw', command: 'cat' });
  const odd = `-n "$(id)" '; touch /workspace/ran ' \`id\` \\; ${'z'.repeat(300)}`;
  expect(await use({ action: 'send', name: 'raw', text: `${odd}\n` })).toContain(odd);
  await use({ action: 'close', name: 'raw' });
  const draw = String.raw`printf '\033]0;title\007\033]52;c;aGk=\007\033Ptmux;\033\033]0;x\007\033\\\033[31mred\033[0m\033[5n\n'; sleep 600`;
  const drawn = await use({ action: 'open', name: 'draw', command: draw });
  expect(drawn).toContain('\nred');
  expect(drawn).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
  expect(await use({ action: 'list' })).toBe('draw: runs sleep');
  await use({ action: 'close', name: 'draw' });
  expect((await run(sandbox, 'ls /workspace')).output).toBe('');
});

test('names, keys and patterns that are none are refused, and there is a bound on terminals', async () => {
  for (const name of ['', '-x', 'a:b', 'A', 'x y', '$(id)', '=x', 'a'.repeat(40)]) {
    await expect(use({ action: 'open', name })).rejects.toThrow();
  }
  await expect(use({ action: 'send', name: 'a' })).rejects.toThrow(/text or keys/);
  await expect(use({ action: 'send', name: 'a', text: 'ls\u0015rm x' })).rejects.toThrow(/control characters/);
  await expect(use({ action: 'send', name: 'a', keys: ['C-c ; kill-server'] })).rejects.toThrow();
  for (const name of ['t1', 't2', 't3', 't4', 't5', 't6']) await use({ action: 'open', name, command: 'cat' });
  await expect(use({ action: 'open', name: 't7' })).rejects.toThrow(/6 terminals already/);
  await expect(use({ action: 'open', name: 't1' })).rejects.toThrow(/already/);
  await expect(use({ action: 'send', name: 't1', text: 'x', wait_for: '(' })).rejects.toThrow(/no regular expression/);
  for (const name of ['t1', 't2', 't3', 't4', 't5', 't6']) await use({ action: 'close', name });
});

test('settings of the agent’s own change nothing, and a terminal lives on without its worker', async () => {
  await run(
    sandbox,
    `printf 'set -g remain-on-exit off\\nset -g default-command "touch /workspace/ran"\\n' > ~/.tmux.conf`,
  );
  await use({ action: 'open', name: 'keep' });
  await use({ action: 'send', name: 'keep', text: 'cd /tmp && kept=yes\n' });
  expect(await use({ action: 'send', name: 'keep', text: 'echo "$PWD $kept"\n' })).toContain('/tmp yes');
  const ended = await use({ action: 'send', name: 'keep', text: 'exit 3\n', wait_for: 'never', timeout_seconds: 20 });
  expect(ended).toMatch(/^Its program has ended with exit code 3/);
  expect((await run(sandbox, 'ls /workspace')).output).toBe('');
  await use({ action: 'close', name: 'keep' });
});

test('an operator may watch a terminal, and type into it only when told so', async () => {
  await use({ action: 'open', name: 'seen', command: 'cat' });
  const attach = async (mayType: boolean, typed: string): Promise<string> => {
    const command = `(sleep 1; printf '${typed}'; sleep 1; printf '\\035'; sleep 1) | TERM=xterm timeout 20 script -qec "${attachTerminalCommand('seen', { mayType })}" /dev/null >/dev/null; true`;
    await run(sandbox, command, { timeoutMs: 40_000 });
    return await use({ action: 'read', name: 'seen' });
  };
  expect(await attach(false, 'unwanted\\r')).not.toContain('unwanted');
  expect(await attach(true, 'wanted\\r')).toContain('wanted');
  expect(await use({ action: 'list' })).toBe('seen: runs cat');
  expect((await run(sandbox, `stat -c %a ${terminalSocket.replace('/socket', '')}`)).output.trim()).toBe('700');
});
