import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { AppError } from '#core/kit/errors.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels } from '#workers/sandbox/container-spec.ts';
import type { OpenGateway, SandboxKind, SandboxSpec } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
beforeAll(() => {
  stage = openSandboxStage();
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const { signal } = new AbortController();
const image = 'switchyard-sandbox:latest';
const specOf = (sessionId: string, kind: SandboxKind, limits: Record<string, unknown> = {}): SandboxSpec => ({
  sessionId,
  agent: 'tester',
  kind,
  limits: sandboxLimitsSchema.parse(limits),
});
const containerOf = async (sessionId: string, kind: SandboxKind) => {
  const label = [`${labels.session}=${sessionId}`, `${labels.kind}=${kind}`];
  const [found] = await stage.engine.listContainers({ all: true, filters: { label } });
  return found === undefined ? undefined : await stage.engine.getContainer(found.Id).inspect();
};

interface Seen {
  readonly specs: SandboxSpec[];
  closed: number;
}

/** A gateway that says who it is to whoever connects. */
function greetingGateway(seen: Seen): OpenGateway {
  return async (spec, socketPath) => {
    seen.specs.push(spec);
    const server = createServer((socket) => socket.end(`gateway of ${spec.sessionId}\n`));
    await new Promise<void>((resolve) =>
      server.listen({ path: socketPath, readableAll: true, writableAll: true }, resolve),
    );
    return {
      update: (now) => seen.specs.push(now),
      [Symbol.asyncDispose]: async () => {
        seen.closed++;
        await new Promise((resolve) => server.close(resolve));
      },
    };
  };
}

test('a browser’s container is apart from the shell’s: other limits, no files in common, nothing to run from its workspace', async () => {
  const worker = stage.worker({}, { browserImage: image });
  const sessionId = stage.newSession();
  const core = await worker.open(specOf(sessionId, 'core'), signal);
  const browser = await worker.open(specOf(sessionId, 'browser'), signal);
  await run(core, 'echo private > file');
  expect((await run(browser, 'ls -A /workspace')).output).toBe('');
  expect((await run(browser, 'cp /bin/true /workspace/x && /workspace/x')).output).toMatch(/Permission denied/);
  expect((await run(browser, 'head -c 300m /dev/zero > /workspace/big')).output).toMatch(/No space left/);
  const [shell, chromium] = [await containerOf(sessionId, 'core'), await containerOf(sessionId, 'browser')];
  expect(chromium?.Id).not.toBe(shell?.Id);
  expect(chromium?.HostConfig).toMatchObject({
    Memory: 1 << 30,
    NanoCpus: 2e9,
    PidsLimit: 512,
    ShmSize: 256 << 20,
    NetworkMode: 'none',
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
  });
  await worker.forget(sessionId);
  expect([await containerOf(sessionId, 'core'), await containerOf(sessionId, 'browser')]).toEqual([
    undefined,
    undefined,
  ]);
});

test('a browser whose worker died is put to rest by the sweep of another, and removed later', async () => {
  const sessionId = stage.newSession();
  const gone = stage.worker({}, { browserImage: image });
  await gone.open(specOf(sessionId, 'browser'), signal);
  await gone[Symbol.asyncDispose]();
  const other = stage.worker({ removeAfterMs: 300 });
  await other.sweep();
  expect((await containerOf(sessionId, 'browser'))?.State.Paused).toBe(true);
  await eventually(async () => {
    await other.sweep();
    expect(await containerOf(sessionId, 'browser')).toBeUndefined();
  });
});

test('without an image for browsers there is none, and the mend says so', async () => {
  await expect(stage.worker().open(specOf(stage.newSession(), 'browser'), signal)).rejects.toMatchObject({
    code: 'image.missing',
    mend: expect.stringContaining('./switchyard sandbox build'),
  });
});

test('an agent with the gateway finds its socket and the proxy variables; one without finds neither', async () => {
  const seen: Seen = { specs: [], closed: 0 };
  const worker = stage.worker({}, { openGateway: greetingGateway(seen) });
  const [open, shut] = [stage.newSession(), stage.newSession()];
  const outward = await worker.open(specOf(open, 'core', { network: 'gateway' }), signal);
  const say = `python3 -c 'import socket as s; k=s.socket(s.AF_UNIX); k.connect("/run/host/egress.sock"); print(k.recv(99).decode())'`;
  expect((await run(outward, say)).output).toContain(`gateway of ${open}`);
  const variables = 'env | grep -i _proxy | sort';
  expect((await run(outward, variables)).output.split('\n').filter(Boolean)).toEqual([
    'HTTPS_PROXY=http://127.0.0.1:3128',
    'HTTP_PROXY=http://127.0.0.1:3128',
    'NO_PROXY=localhost,127.0.0.1',
    'http_proxy=http://127.0.0.1:3128',
    'https_proxy=http://127.0.0.1:3128',
    'no_proxy=localhost,127.0.0.1',
  ]);
  const inward = await worker.open(specOf(shut, 'core'), signal);
  expect((await run(inward, `${variables}; ls /run/host`)).output).toBe('toolbox.sock\n');
  expect((await containerOf(open, 'core'))?.HostConfig.NetworkMode).toBe('none');
});

test('a gateway hears of changed rules at the next opening and is closed with its container', async () => {
  const seen: Seen = { specs: [], closed: 0 };
  const worker = stage.worker({}, { openGateway: greetingGateway(seen) });
  const sessionId = stage.newSession();
  await worker.open(specOf(sessionId, 'core', { network: 'gateway' }), signal);
  const later = { ...specOf(sessionId, 'core', { network: 'gateway' }), agent: 'renamed' };
  await worker.open(later, signal);
  expect(seen.specs.at(-1)).toBe(later);
  await worker.forget(sessionId);
  expect(seen.closed).toBe(1);
});

test('a sandbox is not started without the gateway its agent asks for, nor with one that fails', async () => {
  const sessionId = stage.newSession();
  const spec = specOf(sessionId, 'core', { network: 'gateway' });
  await expect(stage.worker().open(spec, signal)).rejects.toMatchObject({ code: 'sandbox.unavailable' });
  const broken: OpenGateway = async () => {
    throw new Error('address in use');
  };
  const failing = stage.worker({}, { openGateway: broken }).open(spec, signal);
  await expect(failing).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    message: expect.stringContaining('gateway'),
  });
  expect(await containerOf(sessionId, 'core')).toBeUndefined();
});

test('files prepared for a session stand in its container before it starts, and cannot be changed from inside', async () => {
  const sessionId = stage.newSession();
  let times = 0;
  const prepare = async (spec: SandboxSpec, folder: string) => {
    times++;
    await writeFile(path.join(folder, 'note'), `for ${spec.sessionId}`);
  };
  const options = { prepareFolders: [prepare] };
  const first = stage.worker({}, options);
  const sandbox = await first.open(specOf(sessionId, 'core'), signal);
  expect((await run(sandbox, 'cat /run/host/note')).output).toBe(`for ${sessionId}`);
  expect((await run(sandbox, 'echo x > /run/host/note; rm -f /run/host/note')).output).toMatch(/Read-only/);
  await first[Symbol.asyncDispose]();
  await stage.worker({}, options).open(specOf(sessionId, 'core'), signal);
  expect(times).toBe(2);
});

test('files that cannot be prepared fail the start and leave nothing behind', async () => {
  const sessionId = stage.newSession();
  const prepare = async () => {
    throw new AppError('config.invalid', 'A skill was changed.');
  };
  const worker = stage.worker({}, { prepareFolders: [prepare] });
  await expect(worker.open(specOf(sessionId, 'core'), signal)).rejects.toMatchObject({ code: 'config.invalid' });
  expect(await containerOf(sessionId, 'core')).toBeUndefined();
});

test('a runtime the engine does not have is named with those it has; one it has is used', async () => {
  const worker = stage.worker();
  const wrong = worker.open(specOf(stage.newSession(), 'core', { runtime: 'no-such-runtime' }), signal);
  await expect(wrong).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    message: expect.stringContaining('no-such-runtime'),
    mend: expect.stringContaining('runc'),
  });
  const sessionId = stage.newSession();
  await worker.open(specOf(sessionId, 'core', { runtime: 'runc' }), signal);
  expect((await containerOf(sessionId, 'core'))?.HostConfig.Runtime).toBe('runc');
});
