import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from 'vitest';
import { attack, limit } from '#tests/support/attack.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import { plainOutput } from '#workers/tools/tool-output.ts';

let stage: SandboxStage;
let worker: DockerSandboxes;
let sandbox: Sandbox;
let sessionId: string;
const { signal } = new AbortController();

beforeAll(async () => {
  stage = openSandboxStage();
  worker = stage.worker();
  sessionId = stage.newSession();
  sandbox = await stage.open(worker, sessionId, { cpus: 0.5, memory_mb: 256, pids: 128, disk_mb: 128 });
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const shell = async (command: string, timeoutMs = 20_000): Promise<string> =>
  (await run(sandbox, command, { timeoutMs })).output;
const python = async (script: string): Promise<string> =>
  (await run(sandbox, 'python3 -', { stdin: script })).output.trim();

attack(
  'resources',
  '31: an archive that unpacks to gigabytes',
  'it ends where the disk of the agent ends',
  async () => {
    const said = await python(`
import zipfile, os, errno
with zipfile.ZipFile('/workspace/bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    for i in range(4): z.writestr(f'part{i}', bytes(64 << 20))
print('small', os.path.getsize('/workspace/bomb.zip') < 1 << 20)
try: zipfile.ZipFile('/workspace/bomb.zip').extractall('/tmp/out'); print('WHOLE')
except OSError as err: print(errno.errorcode[err.errno])
`);
    expect(said).toBe('small True\nENOSPC');
    expect(await shell('rm -rf /tmp/out /workspace/bomb.zip; echo on')).toBe('on\n');
  },
);

attack('resources', '32: shared memory filled', 'it has an end and is charged to the container', async () => {
  const said = await shell('head -c 100000000 /dev/zero > /dev/shm/x; du -m /dev/shm/x | cut -f1; rm /dev/shm/x');
  expect(said).toMatch(/No space left.*\n1[0-6]\n$/s);
});

attack(
  'resources',
  '36: a process that starts itself anew without end',
  'processes are counted; the kill of all agents’ ends it',
  async () => {
    const spawner = `
import os
try: os.setsid()
except OSError: pass
while True:
    try:
        if os.fork() == 0: os.execv('/usr/bin/python3', ['python3', '/tmp/spawn.py'])
    except OSError: pass
`;
    // Memory for as many as there may be: its end is not what is tried here.
    const other = await stage.open(worker, stage.newSession(), { cpus: 0.5, memory_mb: 1024, pids: 64 });
    await run(other, 'cat > /tmp/spawn.py', { stdin: spawner });
    const result = await run(other, 'python3 /tmp/spawn.py', { timeoutMs: 1_500 });
    expect(result.ended).toBe('timeout');
    await eventually(async () => expect((await run(other, 'pgrep -fc "[s]pawn.py"; true')).output).toBe('0\n'));
  },
);

attack(
  'resources',
  '37: two programs that compute without end',
  'processor time is bounded for all of them together',
  async () => {
    const said = await python(`
import os, time
begin = time.monotonic()
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while time.monotonic() - begin < 3: pass
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
used = os.times()
print(round((used.children_user + used.children_system) / (time.monotonic() - begin), 2))
`);
    // Half a processor; without the bound two programs would use more than one wherever there are two.
    expect(Number(said)).toBeLessThan(0.75);
  },
);

attack('resources', '37: more memory than there is', 'the kernel ends it inside; the worker says memory', async () => {
  // The engine tells of it by an event, which may come later than the result.
  await eventually(async () => {
    const result = await run(
      sandbox,
      `python3 -c 'x = bytearray(900 << 20)
for i in range(0, len(x), 4096): x[i] = 1'`,
    );
    expect(result.ended).toBe('oom');
  });
  expect(await shell('echo on')).toBe('on\n');
});

attack(
  'resources',
  '39: one line of a hundred megabytes, and noise',
  'output is cut in the container; the worker does not grow',
  async () => {
    const before = process.memoryUsage().rss;
    const line = await run(sandbox, `head -c 100000000 /dev/zero | tr '\\0' x`);
    expect(line.output.length).toBeLessThan(70_000);
    expect(line.droppedBytes).toBeGreaterThan(99_000_000);
    const noise = await run(sandbox, 'head -c 20000000 /dev/urandom');
    expect(noise.output.length).toBeLessThan(70_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
  },
);

attack(
  'resources',
  'eight commands that print without end at once',
  'read as fast as the worker likes; its event loop stays free',
  async () => {
    const before = process.memoryUsage().rss;
    let chunks = 0;
    const running = Array.from(
      { length: 8 },
      async () =>
        await run(sandbox, 'yes', {
          timeoutMs: 2_000,
          onOutput: () => {
            chunks += 1;
          },
        }),
    );
    // In time of the processor: what else the machine does says nothing about this worker.
    const startedAt = performance.now();
    const usedBefore = process.cpuUsage();
    let turns = 0;
    while (performance.now() - startedAt < 1_500) {
      await delay(10);
      turns += 1;
    }
    const { user, system } = process.cpuUsage(usedBefore);
    const tookMs = performance.now() - startedAt;
    for (const result of await Promise.all(running)) expect(result.ended).toBe('timeout');
    expect(turns).toBeGreaterThan(1);
    expect((user + system) / 1_000).toBeLessThan(tookMs / 2);
    expect(chunks).toBeLessThan(20_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 << 20);
  },
);

attack(
  'resources',
  'a log of the engine filled through the first process',
  'it is another user’s, and nothing of it is kept',
  async () => {
    const said = await shell('for f in 1 2; do echo flood > /proc/1/fd/$f && echo WROTE; done');
    expect(said).not.toMatch(/^WROTE/m);
    const info = await stage.container(sessionId);
    expect(info?.HostConfig.LogConfig).toMatchObject({ Type: 'none' });
  },
);

attack('resources', 'bounds raised from inside', 'hard limits and priorities only go down', async () => {
  const said = await python(`
import resource, os
def attempt(name, work):
    try: work(); print(name, 'RAISED')
    except (OSError, ValueError, PermissionError): print(name, 'refused')
for name in ('NOFILE', 'FSIZE', 'CORE', 'MEMLOCK'):
    which = getattr(resource, 'RLIMIT_' + name)
    attempt(name, lambda: resource.setrlimit(which, (1 << 33, 1 << 33)))
attempt('nice', lambda: os.nice(-5))
attempt('real time', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt('oom', lambda: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000'))
`);
  expect(said).not.toContain('RAISED');
  expect(said.split('\n')).toHaveLength(7);
});

attack('resources', 'a command as long as a book', 'refused before it is sent', async () => {
  await expect(run(sandbox, `echo ${'x'.repeat(3 << 20)}`)).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  expect(await shell(`echo ${'x'.repeat(100_000)} | wc -c`)).toBe('100001\n');
});

attack('resources', 'an output that is slow to make plain', 'any text takes one pass', () => {
  for (const unit of [
    '\u001b]0;',
    '\u001b[',
    '\u001b[31',
    '\u009b0',
    '\u009d',
    '\u001bP',
    '\u001b ',
    '\u001b[ ',
    '\r',
  ]) {
    const text = unit.repeat(Math.ceil(1_000_000 / unit.length));
    expect(cpuMs(() => plainOutput(text))).toBeLessThan(1_000);
  }
  expect(plainOutput('\u001b]0;title\u0007a\u001b[2Jb\u009b31mc\u001b]8;;http://x\u001b\\d\u001b(Be')).toBe('abcde');
});

attack(
  'resources',
  'a pattern that is slow to search with',
  'the search engine has no backtracking, and a time',
  async () => {
    await shell(`head -c 60000 /dev/zero | tr '\\0' a > slow.txt; echo b >> slow.txt`);
    const startedAt = performance.now();
    await sandbox.searchFiles('^(a+)+$', { matchesMax: 10, signal }).catch(() => undefined);
    await sandbox.searchFiles('(a|aa)+c', { matchesMax: 10, signal }).catch(() => undefined);
    await sandbox.searchFiles('(?:a{0,500}){0,500}c', { matchesMax: 10, signal }).catch(() => undefined);
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  },
);

attack(
  'resources',
  'a job that outlives its stop in every way there is',
  'what belongs to a job ends with it',
  async () => {
    const { id } = await sandbox.startJob({
      command: `trap '' TERM INT HUP QUIT; (setsid nohup sleep 7001 >/dev/null 2>&1 &); (setsid env -i sleep 7002 &) ; bash -c 'trap "" TERM; (sleep 7003 & disown); sleep 7004' & python3 -c 'import os,time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(7005)
    os._exit(0)
time.sleep(7006)' & wait`,
      timeoutMs: 60_000,
      signal,
    });
    // Four that are there by their name; the fifth is Python's, whose first child is gone when its grandchild is there.
    await eventually(async () => {
      expect(await shell('pgrep -u agent -xc sleep; pgrep -u agent -xc -r S python3; true')).toBe('4\n2\n');
    });
    await sandbox.stopJob(id, signal);
    await eventually(async () => expect(await shell('pgrep -f "[s]leep[ (]700"; true')).toBe(''));
  },
);

attack('resources', 'more jobs than a session may have', 'eight at once, the ninth is refused', async () => {
  const ids: string[] = [];
  const start = async () => await sandbox.startJob({ command: 'sleep 100', timeoutMs: 60_000, signal });
  for (let count = 0; count < 8; count += 1) ids.push((await start()).id);
  await expect(start()).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  await Promise.all(ids.map(async (id) => await sandbox.stopJob(id, signal)));
});

attack('resources', 'all processes stopped, the toolbox included', 'a cancel ends the call all the same', async () => {
  const own = stage.newSession();
  const other = await stage.open(worker, own);
  const cancel = new AbortController();
  const running = run(other, 'kill -STOP -1', { timeoutMs: 60_000, signal: cancel.signal }).catch(() => ({
    ended: 'lost',
  }));
  await stage.isStopped(own, 'toolbox');
  const startedAt = performance.now();
  cancel.abort();
  expect((await running).ended).not.toBe('exit');
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  expect((await run(other, 'echo on')).output).toBe('on\n');
});

attack(
  'resources',
  'open connections to the worker’s socket, thousands',
  'few wait, the rest is turned away',
  async () => {
    const before = process.memoryUsage().rss;
    const said = await python(`
import socket, time
held = []
for _ in range(3000):
    s = socket.socket(socket.AF_UNIX); s.setblocking(False)
    try: s.connect('/run/host/toolbox.sock')
    except OSError: pass
    try: s.send(b'x' * 4096)
    except OSError: pass
    held.append(s)
time.sleep(1); print(len(held))
`);
    expect(said).toBe('3000');
    expect(process.memoryUsage().rss - before).toBeLessThan(60 << 20);
    expect(await shell('echo on')).toBe('on\n');
  },
);

limit(
  'resources',
  '35: watches of files',
  'counted by user for all sandboxes of a host: `sandbox.runtime: runsc` or Kata gives each its own',
  async () => {
    const said = await python(`
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
n = 0
while n < 4096:
    if libc.inotify_init1(0) < 0: break
    n += 1
print(errno.errorcode[ctypes.get_errno()])
`);
    // The number of instances ends for the agent; what is left is taken from other sandboxes of this host.
    expect(said).toBe('EMFILE');
    expect(await shell('python3 -c "import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)"')).toBe('True\n');
  },
);
