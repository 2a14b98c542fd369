import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { newToken } from '#core/kit/ids.ts';
import { eventually } from '#tests/support/eventually.ts';
import { agentUser } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { greetToolbox } from '#workers/sandbox/greet-toolbox.ts';
import type { ToolboxConnection } from '#workers/sandbox/toolbox-connection.ts';

const engine = openEngine(inject('dockerHost'));
const children: ChildProcess[] = [];
let container: ReturnType<typeof engine.getContainer>;

beforeAll(async () => {
  container = await engine.createContainer({
    Image: inject('sandboxImage'),
    name: `switchyard-stdio-${newToken(6)}`,
    Cmd: ['sleep', 'infinity'],
    User: '10002:10002',
    HostConfig: {
      NetworkMode: 'none',
      Init: true,
      Memory: 256 << 20,
      Tmpfs: { '/run': 'rw,uid=10001,gid=10001,mode=0755' },
    },
  });
  await container.start();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await container.remove({ force: true });
});

/** A worker that reaches its container only through the engine. */
async function attach(): Promise<{ child: ChildProcess; connection: ToolboxConnection }> {
  const child = spawn('docker', ['exec', '-i', '-u', agentUser, container.id, '/usr/local/bin/toolbox', '--stdio'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  children.push(child);
  const stream = Duplex.from({ writable: child.stdin, readable: child.stdout });
  return { child, connection: await greetToolbox(stream, 30_000) };
}

const exec = (command: string) =>
  ({ op: 'exec', argv: ['bash', '-c', command], cwd: '/workspace', timeoutMs: 20_000, keep: 65_536 }) as const;

async function output(connection: ToolboxConnection, command: string): Promise<string> {
  const parts: Buffer[] = [];
  const { result } = connection.call(exec(command), { bytesMax: 65_536, onOutput: (chunk) => parts.push(chunk) });
  const { body } = await result;
  return Buffer.concat([...parts, body]).toString();
}

test('the toolbox serves over the standard streams of an exec', async () => {
  const { connection } = await attach();
  expect(await output(connection, 'id -u; pwd')).toBe('10001\n/workspace\n');
  const bytes = Buffer.alloc(5_000_000, 'a');
  const write = connection.call({ op: 'write', path: 'big', append: false }, { body: bytes, bytesMax: 0 });
  expect((await write.result).done.bytes).toBe(bytes.length);
  const read = connection.call({ op: 'read', path: 'big', offset: 1_000_000, bytes: 4 << 20 }, { bytesMax: 4 << 20 });
  expect((await read.result).body.length).toBe(4_000_000);
});

test('a later worker takes the one toolbox over: jobs go on, commands of the earlier one end', async () => {
  const first = await attach();
  const begun = first.connection.call(
    { op: 'jobStart', argv: ['sleep', '4001'], cwd: '/workspace', timeoutMs: 60_000, label: 'a job' },
    { bytesMax: 0 },
  );
  const { job = 0 } = (await begun.result).done;
  const pid = await output(first.connection, 'cat /run/toolbox.pid');
  const running = first.connection.call(exec('echo up; sleep 4002'), { bytesMax: 100 }).result;
  // It may be lost before the later worker has come up.
  const lost = expect(running).rejects.toMatchObject({ code: 'sandbox.lost' });
  await eventually(async () => expect(await output(first.connection, 'ps -e -o args=')).toContain('sleep 4002'));
  const second = await attach();
  await lost;
  await eventually(async () => {
    const processes = await output(second.connection, 'ps -e -o args=');
    expect(processes).toContain('sleep 4001');
    expect(processes).not.toContain('sleep 4002');
  });
  expect(await output(second.connection, 'cat /run/toolbox.pid')).toBe(pid);
  await second.connection.call({ op: 'jobStop', job, waitMs: 20_000 }, { bytesMax: 2000 }).result;
  expect(await output(second.connection, 'ps -e -o args=')).not.toContain('sleep 4001');
});

test('half a frame of a worker that died does not hold up the next one', async () => {
  const { child } = await attach();
  child.stdin?.write(Buffer.from([0, 0, 1, 0, 0, 0, 0, 50, 123]));
  child.kill('SIGKILL');
  const { connection } = await attach();
  expect(await output(connection, 'echo well')).toBe('well\n');
});

test('standard streams that close end the joint, not the toolbox', async () => {
  const { child, connection } = await attach();
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.stdin?.end();
  expect(await exited).toBe(0);
  expect((await connection.closed).code).toBe('sandbox.lost');
  expect(await output((await attach()).connection, 'echo well')).toBe('well\n');
});
