import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;

beforeAll(async () => {
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());

/** Processes of the agent's user that are not the toolbox, without the ones that are just ending. */
const strays = async () => {
  const { output } = await run(
    sandbox,
    `ps -u agent -o stat=,args= | grep -v -e '^Z' -e toolbox -e ' ps -u' -e 'grep -v' -e 'bash -c ps' || true`,
  );
  return output.trim();
};

/** Begins a command and cancels it once it said that it is up; returns what the cancel took as well. */
async function cancelWhenUp(command: string, into = sandbox) {
  const cancel = new AbortController();
  let cancelledAt = 0;
  const result = await run(into, command, {
    timeoutMs: 60_000,
    signal: cancel.signal,
    onOutput: (chunk) => {
      if (!chunk.includes('up')) return;
      cancelledAt = performance.now();
      cancel.abort();
    },
  });
  return { result, tookMs: performance.now() - cancelledAt };
}

describe('a command', () => {
  test('gives its exit code and its output and errors in the order they were written', async () => {
    const result = await run(sandbox, 'echo one; echo two >&2; echo three; exit 3');
    expect(result).toMatchObject({ exitCode: 3, ended: 'exit', output: 'one\ntwo\nthree\n', droppedBytes: 0 });
  });

  test('reads its standard input, also a large one', async () => {
    expect((await run(sandbox, 'tr a-z A-Z', { stdin: 'shout' })).output).toBe('SHOUT');
    expect((await run(sandbox, 'wc -c', { stdin: 'x'.repeat(3_000_000) })).output.trim()).toBe('3000000');
  });

  test('runs in the workspace as an ordinary user unless told another directory', async () => {
    expect((await run(sandbox, 'pwd; id -u; mkdir -p deep/er')).output).toBe('/workspace\n10001\n');
    expect((await run(sandbox, 'pwd', { workingDirectory: 'deep/er' })).output).toBe('/workspace/deep/er\n');
  });

  test('is refused outside the workspace and in a directory that is not there', async () => {
    for (const workingDirectory of ['/etc', '../..', 'no/such']) {
      await expect(run(sandbox, 'pwd', { workingDirectory })).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
    }
  });

  test('passes every character through, except NUL', async () => {
    const line = 'tab\t "quote" \\back\\ \u0001 é 漢 🚂 $HOME';
    expect((await run(sandbox, 'cat', { stdin: line })).output).toBe(line);
    expect((await run(sandbox, `printf '%s' '${line}'`)).output).toBe(line);
    expect((await run(sandbox, 'printf "a\\0b"')).output).toBe('ab');
    await expect(run(sandbox, 'echo a\0b')).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  });

  test('shows its output while it runs', async () => {
    const seen: string[] = [];
    const result = await run(sandbox, 'echo first; until [ -e go ]; do sleep 0.02; done; echo last', {
      onOutput: (chunk) => {
        seen.push(chunk);
        if (chunk.includes('first')) void run(sandbox, 'touch go');
      },
    });
    expect(result.output).toBe('first\nlast\n');
    expect(seen.length).toBeGreaterThan(1);
  });

  test('leaves a background process running, which may go on writing', async () => {
    const started = await run(
      sandbox,
      '(for i in 1 2 3; do sleep 0.1; echo noise; done; echo end > later) & echo begun',
    );
    expect(started.output).toBe('begun\n');
    await eventually(async () => expect((await run(sandbox, 'cat later')).output).toBe('end\n'));
  });

  test('may run beside others', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => run(sandbox, `sleep 0.05; echo ${i}`)));
    expect(results.map((result) => result.output.trim())).toEqual(results.map((_, i) => String(i)));
  });
});

describe('output caps', () => {
  attack('resources', '39: 100 MB of output', 'head and tail are kept, the rest counted', async () => {
    const result = await run(sandbox, "echo BEGIN; head -c 100000000 /dev/zero | tr '\\0' x; echo END", {
      outputBytesMax: 10_000,
    });
    expect(result.exitCode).toBe(0);
    expect(result.output.startsWith('BEGIN\nxxx')).toBe(true);
    expect(result.output.endsWith('xxEND\n')).toBe(true);
    expect(result.droppedBytes).toBe(100_000_010 - 10_000);
    expect(result.output.length).toBeLessThan(10_100);
  });

  attack('resources', '39: output without an end', 'ended at its time', async () => {
    const result = await run(sandbox, 'yes', { timeoutMs: 400 });
    expect(result.ended).toBe('timeout');
    expect(result.droppedBytes).toBeGreaterThan(0);
  });

  test('binary output becomes text', async () => {
    const result = await run(sandbox, 'head -c 5000 /dev/urandom');
    expect(result.output.isWellFormed()).toBe(true);
    expect(result.output).not.toContain('\0');
  });
});

describe('ending a command', () => {
  test.each([
    ['an ordinary one', 'echo up; sleep 1000'],
    ['one that ignores signals', "trap '' TERM INT HUP; echo up; while :; do sleep 0.1; done"],
    ['its background children', 'sleep 1001 & sleep 1002 & echo up; wait'],
    ['one that left its session', 'setsid sleep 1003 & echo up; sleep 1000'],
    [
      'one that forked twice and emptied its environment',
      '(setsid env -i bash -c "sleep 1004 & sleep 1005" &) ; echo up; sleep 1000',
    ],
    ['one that nohup keeps', 'nohup setsid sleep 1006 >/dev/null 2>&1 & echo up; sleep 1000'],
    ['a tmux server', 'tmux -L x new-session -d "sleep 1007"; echo up; sleep 1000'],
    [
      'a Python daemon',
      `python3 -c 'import os,time\nif os.fork(): time.sleep(0.1); print("up", flush=True); time.sleep(1000)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1008)'`,
    ],
  ])('a cancel ends %s at once, all of its tree', async (_, command) => {
    const { result, tookMs } = await cancelWhenUp(command);
    expect(result.ended).toBe('cancelled');
    // A second is promised, on a machine that does nothing else.
    expect(tookMs).toBeLessThan(15_000);
    expect(await strays()).toBe('');
  });

  test('a process left in the background is seen by the check of these tests', async () => {
    await run(sandbox, 'sleep 1009 >/dev/null 2>&1 &');
    expect(await strays()).toContain('sleep 1009');
    await run(sandbox, 'pkill sleep');
  });

  test('a cancel spares what another command runs', async () => {
    // Time for the toolbox to end it: otherwise the container would be replaced.
    const here = await stage.open(stage.worker({ endMs: 10_000 }), stage.newSession());
    const other = run(here, 'echo up; until [ -e go ]; do sleep 0.1; done; echo whole', { timeoutMs: 50_000 });
    const { result } = await cancelWhenUp('echo up; sleep 1000', here);
    expect(result.ended).toBe('cancelled');
    await run(here, 'touch go');
    expect((await other).output).toBe('up\nwhole\n');
  });

  attack('resources', 'a tree of processes that outlives its time', 'the whole tree is ended', async () => {
    const result = await run(sandbox, 'echo before; setsid sleep 1010 & sleep 1011', { timeoutMs: 300 });
    expect(result).toMatchObject({ ended: 'timeout', output: 'before\n', exitCode: undefined });
    expect(result.durationMs).toBeLessThan(15_000);
    expect(await strays()).toBe('');
  });

  test('a signal that is aborted already starts nothing', async () => {
    await expect(run(sandbox, 'touch never', { signal: AbortSignal.abort() })).rejects.toThrow();
    expect((await run(sandbox, 'ls never')).exitCode).toBe(2);
  });

  attack('resources', '36: a fork bomb', 'processes are counted; all of the agent’s are ended', async () => {
    const result = await run(sandbox, ':(){ :|:& };:; sleep 100', { timeoutMs: 1500 });
    expect(result.durationMs).toBeLessThan(15_000);
    await eventually(async () => expect((await run(sandbox, 'echo alive')).output).toBe('alive\n'));
    await eventually(async () => expect(await strays()).toBe(''));
  });

  attack(
    'resources',
    '36: background processes that use up the limit',
    'they are ended for the next command',
    async () => {
      const fill =
        'import subprocess\ntry:\n for _ in range(400): subprocess.Popen(["sleep", "1012"])\nexcept OSError: print("full")';
      expect((await run(sandbox, `python3 -c '${fill}'`)).output).toBe('full\n');
      expect((await run(sandbox, 'echo room')).output).toBe('room\n');
      // A process that was ended is seen until the kernel has cleared it away.
      await eventually(async () => expect(await strays()).toBe(''));
    },
  );
});
