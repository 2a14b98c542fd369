import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { ProcessRequest, Sandbox, SandboxProcess } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let worker: DockerSandboxes;
let sandbox: Sandbox;

beforeAll(async () => {
  stage = openSandboxStage();
  worker = stage.worker();
  sandbox = await stage.open(worker, stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const { signal } = new AbortController();
const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

interface Talk {
  readonly process: SandboxProcess;
  readonly out: () => Buffer;
  readonly err: () => string;
}

/** Starts a program and keeps what it writes. */
async function talk(argv: readonly string[], rest: Partial<ProcessRequest> = {}, into = sandbox): Promise<Talk> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const process = await into.start({
    argv,
    onStdout: (chunk) => void out.push(chunk),
    onStderr: (chunk) => void err.push(chunk),
    signal,
    ...rest,
  });
  return { process, out: () => Buffer.concat(out), err: () => Buffer.concat(err).toString() };
}

/** Resident memory of the toolbox in MiB. */
async function toolboxMb(into = sandbox): Promise<number> {
  const { output } = await run(into, 'grep -h VmRSS /proc/$(cat /run/toolbox.pid)/status');
  return Number(/(\d+) kB/.exec(output)?.[1]) / 1024;
}

/** How many processes have exactly this argument list. */
async function count(args: string, into = sandbox): Promise<number> {
  return Number((await run(into, `ps -e -o args= | grep -cx '${args}' || true`)).output);
}

describe('a program behind pipes', () => {
  test('gets and gives bytes as they are, and its end of input', async () => {
    const { process, out } = await talk(['cat']);
    const bytes = randomBytes(5_000_000);
    await process.write(bytes.subarray(0, 1));
    await process.write(bytes.subarray(1));
    process.end();
    expect(await process.exited).toBe(0);
    expect(sha(out())).toBe(sha(bytes));
  });

  test('answers while both directions stay open', async () => {
    const { process, out } = await talk(['bash', '-c', 'while read -r line; do echo "<$line>"; done; exit 7']);
    for (const word of ['one', 'two', 'three']) {
      await process.write(Buffer.from(`${word}\n`));
      await eventually(() => expect(out().toString().endsWith(`<${word}>\n`)).toBe(true));
    }
    process.end();
    expect(await process.exited).toBe(7);
  });

  test('has its arguments, variables and directory, and its errors apart', async () => {
    await run(sandbox, 'mkdir -p "a dir"');
    const { process, out, err } = await talk(
      ['bash', '-c', 'printf "%s|" "$@"; echo "$NAME in $PWD"; echo wrong >&2', 'x', 'two words', '$HOME', 'é"\\'],
      { environment: { NAME: 'a=b "c"' }, workingDirectory: 'a dir' },
    );
    expect(await process.exited).toBe(0);
    expect(out().toString()).toBe('two words|$HOME|é"\\|a=b "c" in /workspace/a dir\n');
    expect(err()).toBe('wrong\n');
  });

  test('that does not exist exits with 127 and says so; a wrong directory or variable is refused', async () => {
    const { process, err } = await talk(['no-such-program']);
    expect(await process.exited).toBe(127);
    expect(err()).toContain('no-such-program');
    const refused = { code: 'tool.invalid_arguments' };
    await expect(talk(['cat'], { workingDirectory: '/etc' })).rejects.toMatchObject(refused);
    await expect(talk(['cat'], { workingDirectory: 'nowhere' })).rejects.toMatchObject(refused);
    await expect(talk(['cat'], { environment: { 'A B': 'x' } })).rejects.toMatchObject(refused);
    await expect(talk(['cat'], { environment: { A: 'x\0y' } })).rejects.toMatchObject(refused);
    await expect(talk(['cat'], { signal: AbortSignal.abort() })).rejects.toThrow();
  });

  test('runs beside sixteen others that all talk at once', async () => {
    const talks = await Promise.all(Array.from({ length: 17 }, async () => await talk(['cat'])));
    const bytes = talks.map(() => randomBytes(400_000));
    await Promise.all(
      talks.map(async ({ process }, i) => {
        await process.write(bytes[i] ?? Buffer.alloc(0));
        process.end();
      }),
    );
    expect(await Promise.all(talks.map(({ process }) => process.exited))).toEqual(talks.map(() => 0));
    expect(talks.map(({ out }) => sha(out()))).toEqual(bytes.map(sha));
  });
});

describe('a slow side', () => {
  test('that reads stops a program that writes, and nothing grows', async () => {
    let taken = 0;
    const open = Promise.withResolvers<void>();
    const before = process.memoryUsage.rss();
    const { process: program } = await talk(['bash', '-c', 'head -c 100000000 /dev/zero; touch written'], {
      onStdout: async (chunk) => {
        await open.promise;
        taken += chunk.length;
      },
    });
    // Long enough for 100 MB many times over.
    await delay(500);
    expect((await run(sandbox, 'ls written')).exitCode).toBe(2);
    expect(await toolboxMb()).toBeLessThan(10);
    // Less than half of it; the rest is what garbage collection leaves to chance.
    expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(40);
    open.resolve();
    expect(await program.exited).toBe(0);
    expect(taken).toBe(100_000_000);
  });

  test('that does not read its input holds up the writer until it does', async () => {
    const { process: program, out } = await talk(['bash', '-c', 'until [ -e may-read ]; do sleep 0.02; done; wc -c']);
    let isWritten = false;
    const writing = program.write(Buffer.alloc(20_000_000)).then(() => {
      isWritten = true;
    });
    await delay(300);
    expect(isWritten).toBe(false);
    expect(await toolboxMb()).toBeLessThan(10);
    await run(sandbox, 'touch may-read');
    await writing;
    program.end();
    expect(await program.exited).toBe(0);
    expect(out().toString().trim()).toBe('20000000');
  });

  test('that closed its input makes the writer go on, not wait for ever', async () => {
    const { process: program } = await talk(['bash', '-c', 'exec 0<&-; until [ -e may-end ]; do sleep 0.02; done']);
    await program.write(Buffer.alloc(2_000_000));
    await run(sandbox, 'touch may-end');
    expect(await program.exited).toBe(0);
    await expect(program.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'sandbox.lost' });
  });

  test('that fails ends the program', async () => {
    const { process: program } = await talk(['bash', '-c', 'echo hello; exec sleep 2001'], {
      onStdout: () => Promise.reject(new Error('no')),
    });
    expect(await program.exited).toBeUndefined();
    expect(await count('sleep 2001')).toBe(0);
  });

  attack('resources', '39: diagnostics without an end', 'dropped above their bound', async () => {
    const { process: program, err } = await talk(['bash', '-c', 'head -c 50000000 /dev/zero >&2; echo end >&2']);
    expect(await program.exited).toBe(0);
    expect(err().length).toBeGreaterThan(1000);
    expect(err().length).toBeLessThan(300_000);
  });
});

describe('the end of a program', () => {
  test('comes with a kill or an abort, for all of its tree', async () => {
    const script = 'setsid sleep 2002 & (setsid env -i sleep 2003 &); echo up; exec sleep 2004';
    for (const end of ['kill', 'abort']) {
      const abort = new AbortController();
      const up = Promise.withResolvers<void>();
      const { process: program } = await talk(['bash', '-c', script], {
        onStdout: () => up.resolve(),
        signal: abort.signal,
      });
      await up.promise;
      if (end === 'kill') program.kill();
      else abort.abort();
      expect(await program.exited).toBeUndefined();
      for (const n of [2002, 2003, 2004]) expect(await count(`sleep ${n}`)).toBe(0);
    }
  });

  test('takes along what it left in the background, and what it wrote last is still handed over', async () => {
    const { process: program, out } = await talk([
      'bash',
      '-c',
      'sleep 2005 & setsid sleep 2006 & head -c 3000000 /dev/zero; echo last; exit 3',
    ]);
    expect(await program.exited).toBe(3);
    expect(out().length).toBe(3_000_005);
    expect(out().subarray(-5).toString()).toBe('last\n');
    expect((await count('sleep 2005')) + (await count('sleep 2006'))).toBe(0);
  });

  test('spares the others', async () => {
    // Time for the toolbox to end it: otherwise the container would be replaced.
    const here = await stage.open(stage.worker({ endMs: 10_000 }), stage.newSession());
    const other = await talk(['cat'], {}, here);
    const { process: program } = await talk(['sleep', '2007'], {}, here);
    program.kill();
    await program.exited;
    await other.process.write(Buffer.from('still here'));
    other.process.end();
    expect(await other.process.exited).toBe(0);
    expect(other.out().toString()).toBe('still here');
  });

  test('comes when its worker lets go of the container', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker();
    const { process: program } = await talk(['sleep', '2008'], {}, await stage.open(first, sessionId));
    await first[Symbol.asyncDispose]();
    expect(await program.exited).toBeUndefined();
    const later = await stage.open(stage.worker(), sessionId);
    await eventually(async () => expect(await count('sleep 2008', later)).toBe(0));
  });

  attack('toolbox', 'the agent kills everything it can', 'the next one runs in a new container', async () => {
    const sessionId = stage.newSession();
    const here = await stage.open(worker, sessionId);
    const { process: program } = await talk(['sleep', '2009'], {}, here);
    await run(here, 'kill -9 -1').catch(() => undefined);
    expect(await program.exited).toBeUndefined();
    await expect(program.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'sandbox.lost' });
    program.kill();
    const next = await talk(['echo', 'again'], {}, here);
    expect(await next.process.exited).toBe(0);
    expect(next.out().toString()).toBe('again\n');
  });
});

describe('an idle container', () => {
  const state = async (sessionId: string) => (await stage.container(sessionId))?.State;

  test('is frozen under a program that may rest, wakes at a write, and stays awake while it is held', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 150 });
    const here = await stage.open(worker, sessionId);
    const { process: program, out } = await talk(['cat'], { mayRest: true }, here);
    await eventually(async () => expect((await state(sessionId))?.Paused).toBe(true));
    await program.write(Buffer.from('woken'));
    await eventually(() => expect(out().toString()).toBe('woken'));
    {
      using _ = program.hold();
      await stage.othersRest(worker);
      expect((await state(sessionId))?.Paused).toBe(false);
    }
    await eventually(async () => expect((await state(sessionId))?.Paused).toBe(true));
    program.kill();
    expect(await program.exited).toBeUndefined();
  });

  test('is kept awake by any other program until that ends', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 150 });
    const here = await stage.open(worker, sessionId);
    const { process: program } = await talk(['cat'], {}, here);
    await stage.othersRest(worker);
    expect((await state(sessionId))?.Paused).toBe(false);
    program.end();
    expect(await program.exited).toBe(0);
    await eventually(async () => expect((await state(sessionId))?.Paused).toBe(true));
  });

  test('that is removed under a resting program ends it, and its writes make no new container', async () => {
    const sessionId = stage.newSession();
    const here = await stage.open(stage.worker({ pauseAfterMs: 100, removeAfterMs: 400 }), sessionId);
    const { process: program } = await talk(['cat'], { mayRest: true }, here);
    expect(await program.exited).toBeUndefined();
    await expect(program.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'sandbox.lost' });
    program.hold()[Symbol.dispose]();
    await eventually(async () => expect(await stage.container(sessionId)).toBeUndefined());
  });
});
