import { existsSync, readdirSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { sessionKey, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

let stage: SandboxStage;
beforeAll(() => {
  stage = openSandboxStage();
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const isPaused = async (sessionId: string) => (await stage.container(sessionId))?.State.Paused;
const idOf = async (sessionId: string) => (await stage.container(sessionId))?.Id;

/** A command line that prints how many of the agent's processes have exactly these words. */
const running = (words: string) => `ps -u agent -o args= | grep -cx '${words}'`;
/** A command line that leaves that running, and ends when it is what it is called. */
const leave = (words: string) =>
  `${words} >/dev/null 2>&1 & until pgrep -fx '${words}' >/dev/null; do sleep 0.01; done`;

describe('a session', () => {
  test('opened twice at once gets one container', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    const [a, b] = await Promise.all([stage.open(worker, sessionId), stage.open(worker, sessionId)]);
    await run(a, 'echo shared > file');
    expect((await run(b, 'cat file')).output).toBe('shared\n');
    expect(await idOf(sessionId)).toBeDefined();
  });

  test('is marked with labels for its session, agent and installation', async () => {
    const sessionId = stage.newSession();
    await stage.open(stage.worker(), sessionId);
    const container = await stage.container(sessionId);
    expect(container?.Config.Labels).toMatchObject({
      'switchyard.session': sessionId,
      'switchyard.agent': 'tester',
      'switchyard.instance': stage.instance,
      'switchyard.spec': expect.stringMatching(/^[0-9a-f]{32}$/),
      'switchyard.created': expect.stringMatching(/^\d{4}-/),
    });
  });

  attack('sessions', '23: the workspace of another session', 'each has a volume of its own', async () => {
    const worker = stage.worker();
    const [mine, other] = [stage.newSession(), stage.newSession()];
    await run(await stage.open(worker, mine), 'echo private > file');
    expect((await run(await stage.open(worker, other), 'ls -A /workspace')).output).toBe('');
  });

  test('with new limits gets a new container and keeps its files', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId), 'echo kept > file');
    const before = await idOf(sessionId);
    const larger = await stage.open(worker, sessionId, { memory_mb: 256 });
    expect((await run(larger, 'cat file')).output).toBe('kept\n');
    expect(await idOf(sessionId)).not.toBe(before);
    expect((await stage.container(sessionId))?.HostConfig.Memory).toBe(256 << 20);
  });

  test('that is forgotten leaves no container, no workspace and no socket', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId), 'echo x > file');
    const folder = sessionKey(stage.instance, sessionId);
    expect(readdirSync(stage.socketDirectory)).toContain(folder);
    await worker.forget(sessionId);
    expect(await stage.container(sessionId)).toBeUndefined();
    await expect(stage.engine.getVolume(workspaceVolume(sessionId)).inspect()).rejects.toMatchObject({
      statusCode: 404,
    });
    expect(readdirSync(stage.socketDirectory)).not.toContain(folder);
    await worker.forget(sessionId);
  });
});

test('a data directory too deep for socket paths works all the same, across workers', async () => {
  await using deep = openSandboxStage({ below: 'long/'.repeat(30) });
  const sessionId = deep.newSession();
  await run(await deep.open(deep.worker(), sessionId), 'touch /tmp/mark');
  expect((await run(await deep.open(deep.worker(), sessionId), 'ls /tmp/mark')).exitCode).toBe(0);
});

describe('idle containers', () => {
  test('are paused, and the next call wakes them with everything in place', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker({ pauseAfterMs: 100 }), sessionId);
    await run(sandbox, `echo in memory > /tmp/file; ${leave('sleep 1000')}`);
    for (let round = 0; round < 3; round++) {
      await eventually(async () => expect(await isPaused(sessionId)).toBe(true));
      expect((await run(sandbox, `cat /tmp/file; ${running('sleep 1000')}`)).output).toBe('in memory\n1\n');
    }
  });

  test('are not paused while a command runs', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 100 });
    const sandbox = await stage.open(worker, sessionId);
    const working = run(sandbox, 'until [ -e go ]; do sleep 0.1; done; echo done', { timeoutMs: 50_000 });
    await stage.othersRest(worker);
    expect(await isPaused(sessionId)).toBe(false);
    await run(sandbox, 'touch go');
    expect((await working).output).toBe('done\n');
  });

  test('that somebody else pauses in the middle of a command are woken', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker(), sessionId);
    // The event stream is opened beside the first container and may come up a moment later.
    await eventually(async () => {
      await run(sandbox, 'true');
      const working = run(sandbox, 'sleep 1; echo done', { timeoutMs: 8_000 });
      await stage.engine.getContainer((await idOf(sessionId)) ?? '').pause();
      expect((await working).output).toBe('done\n');
    });
  });

  test('are removed after their time; the handle goes on with a new one and the same files', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker({ pauseAfterMs: 100, removeAfterMs: 300 }), sessionId);
    await run(sandbox, 'echo kept > file');
    await eventually(async () => expect(await stage.container(sessionId)).toBeUndefined());
    expect((await run(sandbox, 'cat file')).output).toBe('kept\n');
  });
});

describe('a worker that goes', () => {
  test('leaves the container to the next one, background processes included', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker();
    await run(await stage.open(first, sessionId), `echo 1 > /tmp/mark; ${leave('sleep 1000')}`);
    const id = await idOf(sessionId);
    await first[Symbol.asyncDispose]();
    const sandbox = await stage.open(stage.worker(), sessionId);
    expect(await idOf(sessionId)).toBe(id);
    expect((await run(sandbox, `cat /tmp/mark; ${running('sleep 1000')}`)).output).toBe('1\n1\n');
  });

  test('in the middle of a command ends that command', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker();
    const sandbox = await stage.open(first, sessionId);
    const working = run(sandbox, 'setsid sleep 1234 & echo up; sleep 1000', {
      onOutput: () => void first[Symbol.asyncDispose](),
    });
    await expect(working).rejects.toMatchObject({ code: 'sandbox.lost' });
    const next = await stage.open(stage.worker(), sessionId);
    await eventually(async () => expect((await run(next, running('sleep 1234'))).output).toBe('0\n'));
  });

  test('while it still lives loses the session to the next: its command fails, its timers touch nothing', async () => {
    const sessionId = stage.newSession();
    const old = await stage.open(stage.worker({ pauseAfterMs: 200, removeAfterMs: 400 }), sessionId);
    const lost = expect(run(old, 'sleep 1235')).rejects.toMatchObject({ code: 'sandbox.lost' });
    const fresh = await stage.open(stage.worker(), sessionId);
    const id = await idOf(sessionId);
    await lost;
    await run(fresh, 'sleep 1');
    await eventually(async () => expect((await run(fresh, running('sleep 1235'))).output).toBe('0\n'));
    expect(await idOf(sessionId)).toBe(id);
    expect(await isPaused(sessionId)).toBe(false);
  });

  test('and never comes back is swept up: paused at first, removed later, the files kept', async () => {
    const sessionId = stage.newSession();
    const gone = stage.worker();
    await run(await stage.open(gone, sessionId), 'echo kept > file');
    await gone[Symbol.asyncDispose]();
    const worker = stage.worker({ removeAfterMs: 5_000 });
    await worker.sweep();
    expect(await isPaused(sessionId)).toBe(true);
    await eventually(async () => {
      await worker.sweep();
      expect(await stage.container(sessionId)).toBeUndefined();
    });
    expect((await run(await stage.open(worker, sessionId), 'cat file')).output).toBe('kept\n');
  });

  attack('sessions', 'a container of another installation, swept', 'each sweeps its own only', async () => {
    const sessionId = stage.newSession();
    await stage.open(stage.worker(), sessionId);
    await using elsewhere = openSandboxStage();
    const theirs = elsewhere.newSession();
    await elsewhere.open(elsewhere.worker(), theirs);
    const sweeper = stage.worker({ removeAfterMs: 200 });
    await sweeper.sweep();
    await sweeper.sweep();
    expect(await isPaused(sessionId)).toBe(false);
    expect((await elsewhere.container(theirs))?.State.Running).toBe(true);
  });
});

describe('losses', () => {
  test('a container killed during a command fails that call, and the next gets a new one with the same files', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker(), sessionId);
    await run(sandbox, 'echo kept > file');
    const id = (await idOf(sessionId)) ?? '';
    const working = run(sandbox, 'echo up; sleep 1000', {
      onOutput: () => void stage.engine.getContainer(id).kill(),
    });
    await expect(working).rejects.toMatchObject({ code: 'sandbox.lost' });
    expect((await run(sandbox, 'cat file')).output).toBe('kept\n');
    expect(await idOf(sessionId)).not.toBe(id);
  });

  test('a container that was removed between calls is made again', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker(), sessionId);
    await stage.engine.getContainer((await idOf(sessionId)) ?? '').remove({ force: true });
    await eventually(async () => expect((await run(sandbox, 'echo again')).output).toBe('again\n'));
  });

  test('a container that is replaced while other workers sweep comes up each time', async () => {
    const worker = stage.worker();
    const sessionId = stage.newSession();
    const others = [stage.worker(), stage.worker()];
    let isOver = false;
    const sweeping = Promise.all(
      others.map(async (other) => {
        while (!isOver) await other.sweep();
      }),
    );
    // Asked for at the end, also when a sweep fails before that.
    sweeping.catch(() => undefined);
    try {
      for (let round = 0; round < 10; round++) {
        const sandbox = await stage.open(worker, sessionId, { memory_mb: round % 2 === 0 ? 256 : 384 });
        expect((await run(sandbox, 'echo up')).output).toBe('up\n');
      }
    } finally {
      isOver = true;
      await sweeping;
    }
  });

  attack('toolbox', 'the agent kills its toolbox', 'it loses that call only', async () => {
    const sandbox = await stage.open(stage.worker(), stage.newSession());
    await expect(run(sandbox, 'kill -9 -1; sleep 5')).rejects.toMatchObject({ code: 'sandbox.lost' });
    expect((await run(sandbox, 'echo again')).output).toBe('again\n');
  });

  attack(
    'toolbox',
    '40: the agent freezes its toolbox under a cancel',
    'what does not answer loses its container',
    async () => {
      const sessionId = stage.newSession();
      const sandbox = await stage.open(stage.worker(), sessionId);
      const cancel = new AbortController();
      const working = run(sandbox, 'echo up; pkill -STOP -x toolbox; sleep 1000', {
        signal: cancel.signal,
        timeoutMs: 50_000,
      });
      await stage.isStopped(sessionId, 'toolbox');
      const startedAt = performance.now();
      cancel.abort();
      expect((await working).ended).toBe('cancelled');
      // Far from the 1000 s it would take; how far depends on the engine, which has to kill the container.
      expect(performance.now() - startedAt).toBeLessThan(15_000);
      expect((await run(sandbox, 'echo again')).output).toBe('again\n');
    },
  );

  attack(
    'toolbox',
    '40: the agent freezes its toolbox under a timeout',
    'what does not answer loses its container',
    async () => {
      const sandbox = await stage.open(stage.worker(), stage.newSession());
      const result = await run(sandbox, 'pkill -STOP -x toolbox; sleep 1000', { timeoutMs: 300 });
      expect(result.ended).toBe('timeout');
      expect(result.durationMs).toBeLessThan(15_000);
    },
  );
});

describe('memory', () => {
  const hog = "python3 -c 'x = bytearray(900 << 20)'";

  attack('resources', '37: a command that takes all memory', 'ended inside, and named as such', async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker(), sessionId, { memory_mb: 64 });
    const id = await idOf(sessionId);
    // The event stream is opened beside the first container and may come up a moment later.
    await eventually(async () => expect((await run(sandbox, hog)).ended).toBe('oom'));
    expect((await run(sandbox, 'echo alive')).output).toBe('alive\n');
    expect(await idOf(sessionId)).toBe(id);
  });

  test('an ordinary exit with the same code is not called that', async () => {
    const sandbox = await stage.open(stage.worker(), stage.newSession());
    expect(await run(sandbox, 'kill -9 $$')).toMatchObject({ ended: 'exit', exitCode: 137 });
  });
});

describe('what is missing', () => {
  test('a working engine with the image is said to be one', async () => {
    expect(await stage.worker().check()).toMatchObject({
      ok: true,
      detail: expect.stringContaining('switchyard-sandbox'),
    });
  });

  test('an engine that does not answer, or an image that is not there, is named with its mend', async () => {
    const { signal } = new AbortController();
    const limits = sandboxLimitsSchema.parse({ memory_mb: 64, pids: 64, timeout_seconds: 10 });
    const log = pino({ level: 'silent' });
    const shared = {
      image: 'switchyard-no-such:image',
      instance: stage.instance,
      socketDirectory: stage.socketDirectory,
    };
    await using absent = new DockerSandboxes({ log }, { ...shared, dockerHost: 'unix:///nowhere/docker.sock' });
    expect(await absent.check()).toMatchObject({ ok: false, mend: expect.stringContaining('Docker') });
    await expect(absent.open({ sessionId: 'x', agent: 'a', limits }, signal)).rejects.toMatchObject({
      code: 'sandbox.unavailable',
    });
    const worker = stage.worker();
    await expect(
      worker.open({ sessionId: stage.newSession(), agent: 'a', limits: { ...limits, image: shared.image } }, signal),
    ).rejects.toMatchObject({ code: 'image.missing', mend: expect.stringContaining('./switchyard sandbox build') });
    expect(existsSync(stage.socketDirectory)).toBe(true);
  });
});
