import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { attack, limit } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels, workspaceVolume } from '#workers/sandbox/container-spec.ts';

let stage: SandboxStage;
const folder = mkdtempSync(path.join(tmpdir(), 'syd-disk-'));
const options = { workspaceDirectory: folder, disk: 'loop' } as const;
beforeAll(() => {
  stage = openSandboxStage();
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await eventually(() => expect(attached()).toBe(''));
  rmSync(folder, { recursive: true, force: true });
});

/** Loop devices whose file is below our folder. */
const attached = () => {
  const { stdout } = spawnSync('losetup', ['-n', '-O', 'BACK-FILE', '-a'], { encoding: 'utf8' });
  return stdout
    .split('\n')
    .filter((line) => line.includes(folder))
    .join('\n');
};
const mounted = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder));
const fill = 'head -c 200m /dev/zero > big';

describe('a workspace that is a file system of its own', () => {
  attack(
    'resources',
    '33: a workspace filled to the brim',
    'a file system of its own, of the size of the profile',
    async () => {
      const sessionId = stage.newSession();
      const sandbox = await stage.open(stage.worker({}, options), sessionId, { disk_mb: 64 });
      expect(Number((await run(sandbox, 'df -k --output=size /workspace | tail -1')).output)).toBeLessThan(65_536);
      expect((await run(sandbox, fill)).output).toMatch(/No space left on device/);
      await expect(
        sandbox.writeFile('more', 'x'.repeat(100_000), { append: false, signal: new AbortController().signal }),
      ).rejects.toMatchObject({ code: 'sandbox.disk_full', mend: expect.stringContaining('elete') });
      expect((await run(sandbox, 'rm big; echo again > small; cat small')).output).toBe('again\n');
    },
  );

  attack(
    'resources',
    '34: a workspace full of empty files',
    'a file system of its own has an end of them too',
    async () => {
      const sandbox = await stage.open(stage.worker({}, options), stage.newSession(), { disk_mb: 16 });
      const many = `python3 -c '
import os
n = 0
try:
  while n < 200000:
    os.close(os.open(f"f{n}", os.O_CREAT)); n += 1
except OSError as e: print(e.errno, n)'`;
      expect((await run(sandbox, many, { timeoutMs: 60_000 })).output).toMatch(/^28 \d+\n$/);
    },
  );

  attack('privilege', '29, 30: devices and setuid files in the workspace', 'mounted nosuid and nodev', async () => {
    const sandbox = await stage.open(stage.worker({}, options), stage.newSession());
    const flags = (await run(sandbox, 'grep " /workspace " /proc/self/mountinfo')).output;
    expect(flags).toMatch(/nosuid/);
    expect(flags).toMatch(/nodev/);
    expect((await run(sandbox, 'ls -A')).output).toBe('');
  });

  test('is not mounted on the host while it is used, and its device goes with the container', async () => {
    const worker = stage.worker({}, options);
    const sessionId = stage.newSession();
    const sandbox = await stage.open(worker, sessionId);
    await run(sandbox, 'echo kept > file');
    await eventually(() => expect(mounted()).toEqual([]));
    const image = path.join(folder, `${workspaceVolume(sessionId)}.img`);
    expect(attached()).toContain(image);
    await stage.engine.getContainer((await stage.container(sessionId))?.Id ?? '').remove({ force: true });
    await eventually(() => expect(attached()).not.toContain(image));
    await eventually(async () => expect((await run(sandbox, 'cat file')).output).toBe('kept\n'));
  });

  test('grows with the profile and never shrinks', async () => {
    const worker = stage.worker({}, options);
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId, { disk_mb: 32 }), 'echo kept > file');
    const size = 'df -k --output=size /workspace | tail -1';
    const large = await stage.open(worker, sessionId, { disk_mb: 128 });
    expect(Number((await run(large, size)).output)).toBeGreaterThan(100_000);
    expect((await run(large, 'cat file')).output).toBe('kept\n');
    const small = await stage.open(worker, sessionId, { disk_mb: 32 });
    expect(Number((await run(small, size)).output)).toBeGreaterThan(100_000);
  });

  test('goes with its session, file and all', async () => {
    const worker = stage.worker({}, options);
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId), 'echo x > file');
    await worker.forget(sessionId);
    expect(readdirSync(folder).filter((name) => name.includes(sessionId))).toEqual([]);
  });

  test('leaves a mount and a half-made file behind when its worker dies in between; the next sweep clears both', async () => {
    const worker = stage.worker({}, options);
    const sessionId = stage.newSession();
    await run(await stage.open(worker, sessionId), 'echo kept > file');
    const base = path.join(folder, workspaceVolume(sessionId));
    // As of a process that is no more: a number above the largest there can be.
    const place = `${base}.4194399.abc.mnt`;
    mkdirSync(place);
    expect(spawnSync('mount', ['-o', 'loop', `${base}.img`, place]).status).toBe(0);
    writeFileSync(`${base}.img.xyz.4194399.abc.new`, '');
    // The worker lets go of what it mounted itself a moment after the start.
    await eventually(() => expect(mounted()).toHaveLength(1));
    await worker.sweep({ isThorough: true });
    expect(mounted()).toEqual([]);
    expect(readdirSync(folder).filter((name) => name.includes('4194399'))).toEqual([]);
    expect((await run(await stage.open(worker, sessionId), 'cat file')).output).toBe('kept\n');
  });

  test('that was damaged is repaired at the next start', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker({}, options);
    await run(await stage.open(first, sessionId), 'echo kept > file; sync');
    await first.removeAll();
    await eventually(() => expect(attached()).not.toContain(sessionId));
    const image = path.join(folder, `${workspaceVolume(sessionId)}.img`);
    // The primary superblock: e2fsck finds the backup.
    expect(
      spawnSync('dd', ['if=/dev/zero', `of=${image}`, 'bs=1024', 'seek=1', 'count=1', 'conv=notrunc']).status,
    ).toBe(0);
    expect((await run(await stage.open(stage.worker({}, options), sessionId), 'cat file')).output).toBe('kept\n');
  });
});

describe('a workspace that is watched', () => {
  const watched = { disk: 'watched' } as const;

  limit(
    'resources',
    '33: a workspace that grows, in a volume without quota',
    'measured and ended, not held: `SWITCHYARD_SANDBOX_DISK=loop`, or `quota` on XFS',
    async () => {
      const sessionId = stage.newSession();
      const sandbox = await stage.open(stage.worker({ measureEveryMs: 200 }, watched), sessionId, { disk_mb: 32 });
      const growth = 'for i in $(seq 1 400); do head -c 1m /dev/zero >> big; sleep 0.05; done; sleep 1000';
      const growing = run(sandbox, growth, { timeoutMs: 55_000 });
      await expect(growing).rejects.toMatchObject({
        code: 'sandbox.disk_full',
        message: expect.stringMatching(/holds \d+ MiB and may hold 32/),
      });
      // What is there may be deleted, and then work goes on.
      await eventually(async () => expect((await run(sandbox, 'rm -f big; ls -A')).output).toBe(''));
      expect((await run(sandbox, 'echo again > small; cat small')).output).toBe('again\n');
    },
  );
});

test('where the engine does not see what the worker mounts, workspaces are volumes instead of unbounded folders', async () => {
  const { instance, socketDirectory } = stage;
  const where = { instance, socketDirectory, workspaceDirectory: folder };
  const worker = { ...where, dockerHost: inject('dockerHost'), image: inject('sandboxImage') };
  const program = path.resolve(import.meta.dirname, '../support/ready-worker.main.ts');
  const own = ['-m', '--propagation', 'private', process.execPath, program, JSON.stringify(worker)];
  const child = spawn('unshare', own, { stdio: 'ignore' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  try {
    await eventually(async () => {
      const filters = { label: [`${labels.instance}=${instance}`], status: ['running'] };
      const found = await stage.engine.listContainers({ filters });
      const spare = found.find((each) => each.Labels[labels.session] === undefined);
      const mount = spare?.Mounts.find((each) => each.Destination === '/workspace');
      expect(mount?.Type).toBe('volume');
    });
  } finally {
    child.kill('SIGKILL');
    await gone;
    await stage.worker({}, options).sweep();
  }
});

test('what was begun as a volume stays one where file systems would be possible', async () => {
  const sessionId = stage.newSession();
  await stage.engine.createVolume({ Name: workspaceVolume(sessionId) });
  await stage.open(stage.worker({}, options), sessionId);
  const mounts = (await stage.container(sessionId))?.Mounts ?? [];
  expect(mounts.find((mount) => mount.Destination === '/workspace')).toMatchObject({ Type: 'volume' });
});

test('how firmly workspaces are held is told by the check', async () => {
  expect((await stage.worker({}, options).check()).detail).toMatch(/workspaces are file systems of their own size/);
  expect((await stage.worker({}, { disk: 'watched' }).check()).detail).toMatch(/watched, not walled/);
});

test('a kind of disk the host cannot give is refused with what it takes', async () => {
  const worker = stage.worker({}, { disk: 'quota' });
  await expect(stage.open(worker, stage.newSession())).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    mend: expect.stringContaining('pquota'),
  });
});
