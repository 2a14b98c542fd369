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

const { signal } = new AbortController();
const refused = { code: 'tool.invalid_arguments' };
const start = async (command: string, rest: { timeoutMs?: number; workingDirectory?: string } = {}, into = sandbox) =>
  (await into.startJob({ command, timeoutMs: 60_000, signal, ...rest })).id;
const read = async (id: string, rest: { offset?: number; bytesMax?: number; waitMs?: number } = {}, into = sandbox) =>
  await into.readJob(id, { offset: 0, bytesMax: 100_000, waitMs: 0, signal, ...rest });
const ended = async (id: string, into = sandbox) =>
  await eventually(
    async () => {
      const output = await read(id, { waitMs: 2000 }, into);
      expect(output.status.state).toBe('ended');
      return output;
    },
    { timeout: 50_000 },
  );
const count = async (args: string, into = sandbox) =>
  Number((await run(into, `ps -e -o args= | grep -cx '${args}' || true`)).output);

describe('a job', () => {
  test('goes on after the call that began it and tells its output and its end', async () => {
    await run(sandbox, 'mkdir -p below');
    const command = 'pwd; read -r _; sleep 0.3; echo later; echo wrong >&2; exit 4';
    const id = await start(command, { workingDirectory: 'below' });
    expect((await sandbox.listJobs(signal)).at(-1)).toMatchObject({ id, state: 'running', exitCode: undefined });
    await sandbox.writeJob(id, '\n', { signal });
    const { text, status, nextOffset } = await ended(id);
    expect(text).toBe('/workspace/below\nlater\nwrong\n');
    expect(status).toMatchObject({ state: 'ended', ended: 'exit', exitCode: 4, outputBytes: text.length });
    expect(status.runMs).toBeGreaterThanOrEqual(300);
    expect(nextOffset).toBe(text.length);
    expect((await sandbox.listJobs(signal)).at(-1)).toEqual(status);
  });

  test('is read in parts: a read waits for something new and does not break characters', async () => {
    const id = await start('for word in zwölf 漢字 🚂; do echo $word; read -r _; done');
    const parts: string[] = [];
    let offset = 0;
    for (let i = 0; i < 3; i++) {
      const startedAt = performance.now();
      const part = await read(id, { offset, waitMs: 50_000 });
      expect(performance.now() - startedAt).toBeLessThan(30_000);
      parts.push(part.text);
      offset = part.nextOffset;
      await sandbox.writeJob(id, '\n', { signal });
    }
    expect(parts).toEqual(['zwölf\n', '漢字\n', '🚂\n']);
    expect((await ended(id)).text).toBe('zwölf\n漢字\n🚂\n');
    let whole = '';
    let at = 0;
    for (
      let part = await read(id, { bytesMax: 5 });
      part.text !== '';
      part = await read(id, { bytesMax: 5, offset: at })
    ) {
      whole += part.text;
      at = part.nextOffset;
    }
    expect(whole).toBe('zwölf\n漢字\n🚂\n');
  });

  test('that says nothing lets a read wait no longer than asked, and an abort ends the wait', async () => {
    const id = await start('sleep 3001');
    const startedAt = performance.now();
    expect(await read(id, { waitMs: 300 })).toMatchObject({ text: '', status: { state: 'running' } });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(295);
    await expect(
      sandbox.readJob(id, { offset: 0, bytesMax: 10, waitMs: 60_000, signal: AbortSignal.timeout(100) }),
    ).rejects.toThrow();
    expect(performance.now() - startedAt).toBeLessThan(30_000);
    expect((await sandbox.stopJob(id, signal)).ended).toBe('cancelled');
  });

  test('takes input until that is closed', async () => {
    const id = await start('cat; echo over');
    await sandbox.writeJob(id, 'hello ', { signal });
    await sandbox.writeJob(id, 'there\n', { end: true, signal });
    expect((await ended(id)).text).toBe('hello there\nover\n');
    await expect(sandbox.writeJob(id, 'x', { signal })).rejects.toMatchObject(refused);
    const deaf = await start('sleep 3002');
    await expect(
      (async () => {
        for (let i = 0; i < 8; i++) await sandbox.writeJob(deaf, 'x'.repeat(200_000), { signal });
      })(),
    ).rejects.toMatchObject(refused);
    await expect(sandbox.writeJob(deaf, 'x'.repeat(300_000), { signal })).rejects.toMatchObject({
      code: 'message.too_large',
    });
    await sandbox.stopJob(deaf, signal);
  });

  attack('resources', '39: a job that writes without an end', 'its end is kept, the toolbox stays small', async () => {
    const id = await start("head -c 300000000 /dev/zero | tr '\\0' x; echo END");
    const { status } = await ended(id);
    expect(status.outputBytes).toBe(300_000_004);
    const tail = await read(id, { offset: status.outputBytes - 10 });
    expect(tail.text).toBe('xxxxxxEND\n');
    const oldest = await read(id);
    expect(oldest.offset).toBe(status.outputBytes - 512 * 1024);
    expect(oldest.text).toHaveLength(100_000);
    const { output } = await run(sandbox, 'grep -h VmRSS /proc/$(cat /run/toolbox.pid)/status');
    expect(Number(/(\d+) kB/.exec(output)?.[1])).toBeLessThan(12_000);
  });

  attack('resources', 'a job that leaves processes behind', 'it ends with everything it started', async () => {
    const spread = (n: number) => `setsid sleep ${n} & (setsid env -i sleep ${n + 1} &); echo up;`;
    const gone = async (n: number) => (await count(`sleep ${n}`)) + (await count(`sleep ${n + 1}`));
    const stopped = await start(`${spread(3010)} trap '' TERM; sleep 3012`);
    await read(stopped, { waitMs: 30_000 });
    expect(await sandbox.stopJob(stopped, signal)).toMatchObject({ state: 'ended', ended: 'cancelled' });
    expect((await gone(3010)) + (await count('sleep 3012'))).toBe(0);
    expect((await ended(await start(`${spread(3020)} sleep 3022`, { timeoutMs: 400 }))).status.ended).toBe('timeout');
    expect((await gone(3020)) + (await count('sleep 3022'))).toBe(0);
    expect((await ended(await start(spread(3030)))).status.exitCode).toBe(0);
    expect(await gone(3030)).toBe(0);
    // Once more changes nothing.
    expect((await sandbox.stopJob(stopped, signal)).ended).toBe('cancelled');
  });

  test('that nobody knows, or an id that is none, is refused by name', async () => {
    for (const id of ['j999', 'j0', '3', 'j-1', 'j1x', '']) {
      await expect(read(id)).rejects.toMatchObject(refused);
      await expect(sandbox.stopJob(id, signal)).rejects.toMatchObject(refused);
      await expect(sandbox.writeJob(id, 'x', { signal })).rejects.toMatchObject(refused);
    }
    await expect(start('pwd', { workingDirectory: '/etc' })).rejects.toMatchObject(refused);
    await expect(start(`echo ${'x'.repeat(140_000)}`)).rejects.toMatchObject(refused);
  });

  test('is one of eight at most; those that ended are remembered, the oldest forgotten', async () => {
    const here = await stage.open(stage.worker(), stage.newSession());
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) ids.push(await start(`echo ${i}; exec sleep 3040`, {}, here));
    await expect(start('echo ninth', {}, here)).rejects.toMatchObject(refused);
    for (const id of ids) await here.stopJob(id, signal);
    for (let i = 0; i < 12; i++) await ended(await start(`echo next ${i}`, {}, here), here);
    const jobs = await here.listJobs(signal);
    expect(jobs.map((job) => job.command).slice(-12)).toEqual(Array.from({ length: 12 }, (_, i) => `echo next ${i}`));
    expect(jobs.length).toBeLessThanOrEqual(16);
    expect(new Set(jobs.map((job) => job.id)).size).toBe(jobs.length);
    await expect(read(ids[0] ?? '', {}, here)).rejects.toMatchObject(refused);
  });

  test('keeps its container awake while it runs', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 150 });
    const here = await stage.open(worker, sessionId);
    const id = await start('until [ -e go ]; do sleep 0.1; done; echo awake > proof', {}, here);
    await stage.othersRest(worker);
    expect((await stage.container(sessionId))?.State.Paused).toBe(false);
    await run(here, 'touch go');
    await eventually(async () => expect((await stage.container(sessionId))?.State.Paused).toBe(true));
    expect((await run(here, 'cat proof')).output).toBe('awake\n');
    expect((await read(id, {}, here)).status).toMatchObject({ state: 'ended', exitCode: 0 });
  });

  test('outlives its worker: the next one finds its output, its input and its end', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker();
    const before = await stage.open(first, sessionId);
    const id = await start('echo begun; read -r line; echo "got $line"; exit 5', {}, before);
    expect((await read(id, { waitMs: 30_000 }, before)).text).toBe('begun\n');
    // A command that is in the foreground ends with its worker; the job does not.
    const lost = run(before, 'sleep 3050', { timeoutMs: 60_000 }).catch(() => undefined);
    await eventually(async () => expect(await count('sleep 3050', before)).toBe(1));
    await first[Symbol.asyncDispose]();
    await lost;
    const after = await stage.open(stage.worker(), sessionId);
    expect(await after.listJobs(signal)).toMatchObject([{ id, state: 'running' }]);
    await eventually(async () => expect(await count('sleep 3050', after)).toBe(0));
    await after.writeJob(id, 'from the next\n', { signal });
    const output = await ended(id, after);
    expect(output.text).toBe('begun\ngot from the next\n');
    expect(output.status.exitCode).toBe(5);
  });
});
