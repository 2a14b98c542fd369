import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import { attack } from '#tests/support/attack.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels, sessionKey, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let worker: DockerSandboxes;
const { signal } = new AbortController();
const image = inject('sandboxImage');
const made: string[] = [];

beforeAll(() => {
  stage = openSandboxStage();
  worker = stage.worker({}, { disk: 'watched' });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  if (made.length > 0) docker(['rmi', '-f', ...made]);
});

function docker(args: readonly string[], input = ''): { readonly status: number | null; readonly text: string } {
  const env = { ...process.env, DOCKER_HOST: inject('dockerHost'), DOCKER_BUILDKIT: '0' };
  const done = spawnSync('docker', args, { env, input, encoding: 'utf8' });
  return { status: done.status, text: done.stdout + done.stderr };
}

/** A container that looks like a session's to whoever looks at names and labels alone. */
async function plant(
  sessionId: string,
  instance: string,
  rest: Readonly<Record<string, string>> = {},
): Promise<string> {
  const container = await stage.engine.createContainer({
    name: `switchyard-${sessionKey(instance, sessionId)}`,
    Image: image,
    Entrypoint: [],
    Cmd: ['sleep', '300'],
    User: '0:0',
    Labels: {
      [labels.instance]: instance,
      [labels.session]: sessionId,
      [labels.workspace]: sessionId,
      [labels.kind]: 'core',
      [labels.spec]: '0'.repeat(32),
      [labels.created]: new Date().toISOString(),
      ...rest,
    },
    HostConfig: { NetworkMode: 'none', AutoRemove: false },
  });
  await container.start();
  return container.id;
}

async function isAlive(id: string): Promise<boolean> {
  const info = await stage.engine
    .getContainer(id)
    .inspect()
    .catch(() => undefined);
  return info?.State.Running === true;
}

attack(
  'sessions',
  '23: files, sockets and processes of another session',
  'each has a volume, a folder and a process list of its own',
  async () => {
    const [mine, theirs] = [stage.newSession(), stage.newSession()];
    const [a, b] = [await stage.open(worker, mine), await stage.open(worker, theirs)];
    await run(b, 'echo theirs > secret.txt; setsid sleep 6001 > /dev/null 2>&1 &');
    const said = (
      await run(
        a,
        'find / -name secret.txt 2>/dev/null; pgrep -fc "[s]leep 6001"; find / -xdev -name "*.sock" 2>/dev/null; ls /run/host',
      )
    ).output;
    expect(said.trim()).toBe('0\ntoolbox.sock');
    expect((await run(b, 'cat secret.txt; pgrep -fc "[s]leep 6001"')).output).toBe('theirs\n1\n');
  },
);

attack('sessions', 'the id of another session’s job', 'jobs are known to their own toolbox alone', async () => {
  const [a, b] = [await stage.open(worker, stage.newSession()), await stage.open(worker, stage.newSession())];
  const { id } = await b.startJob({ command: 'echo theirs; sleep 100', timeoutMs: 60_000, signal });
  await expect(a.readJob(id, { offset: 0, bytesMax: 100, waitMs: 0, signal })).rejects.toMatchObject({
    code: 'tool.invalid_arguments',
  });
  await expect(a.stopJob(id, signal)).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  expect((await b.stopJob(id, signal)).ended).toBe('cancelled');
});

attack(
  'sessions',
  'a forged container with a session’s name and labels',
  'what it is made of must match; it is replaced, not used',
  async () => {
    const sessionId = stage.newSession();
    const forged = await plant(sessionId, stage.instance);
    const sandbox = await stage.open(worker, sessionId);
    expect((await run(sandbox, 'id -u')).output).toBe('10001\n');
    const info = await stage.container(sessionId);
    expect(info?.Id).not.toBe(forged);
    expect(info?.HostConfig).toMatchObject({ ReadonlyRootfs: true, NetworkMode: 'none' });
    expect(await isAlive(forged)).toBe(false);
  },
);

attack(
  'sessions',
  'a forged container that also claims the right digest',
  'it has no toolbox that answers, and is replaced',
  async () => {
    const sessionId = stage.newSession();
    const before = await stage.open(worker, sessionId);
    await run(before, 'echo kept > file');
    const real = await stage.container(sessionId);
    const digest = real?.Config.Labels[labels.spec] ?? '';
    expect(digest).not.toBe('');
    await worker.removeAll();
    const forged = await plant(sessionId, stage.instance, { [labels.spec]: digest });
    const next = stage.worker({ dialMs: 8_000 }, { disk: 'watched' });
    const after = await stage.open(next, sessionId);
    expect((await run(after, 'id -u; cat file')).output).toBe('10001\nkept\n');
    expect((await stage.container(sessionId))?.Id).not.toBe(forged);
  },
);

attack(
  'sessions',
  'containers and volumes of another installation',
  'the sweep and the deletion know their own by label',
  async () => {
    const sessionId = stage.newSession();
    const foreign = await plant(sessionId, `other-${newToken(6)}`);
    const volume = `foreign-${newToken(6)}`;
    await stage.engine.createVolume({ Name: volume, Labels: { [labels.instance]: 'other' } });
    try {
      await worker.sweep({ isThorough: true });
      await worker.forget(sessionId);
      expect(await isAlive(foreign)).toBe(true);
      await expect(stage.engine.getVolume(volume).inspect()).resolves.toMatchObject({ Name: volume });
    } finally {
      await stage.engine.getContainer(foreign).remove({ force: true });
      await stage.engine.getVolume(volume).remove();
    }
  },
);

attack('sessions', 'session names that are paths', 'names of folders, containers and volumes are hashes', async () => {
  const names = [
    '../../../etc/evil',
    '/absolute',
    'a\u0000b',
    '..',
    'x'.repeat(5_000),
    'a/../../b',
    'switchyard.session=other',
  ];
  for (const sessionId of names.slice(0, 2)) {
    const sandbox = await stage.open(worker, sessionId);
    expect((await run(sandbox, 'echo on')).output).toBe('on\n');
    await worker.forget(sessionId);
  }
  for (const sessionId of names) {
    expect(sessionKey(stage.instance, sessionId)).toMatch(/^[0-9a-f]{20}$/);
    expect(workspaceVolume(sessionId)).toMatch(/^switchyard-ws-[\w.-]{1,200}$/);
  }
  for (const name of readdirSync(path.resolve(stage.socketDirectory))) expect(name).toMatch(/^[\w.-]+$/);
});

attack(
  'sessions',
  'what a session leaves for the next one',
  'a workspace is deleted with its session, temporary places with the container',
  async () => {
    const sessionId = stage.newSession();
    const before = await stage.open(worker, sessionId);
    await run(before, 'echo left | tee /tmp/left ~/left /dev/shm/left /run/left left');
    await worker.forget(sessionId);
    const again: Sandbox = await stage.open(worker, sessionId);
    expect((await run(again, 'ls -A /tmp/left ~/left /dev/shm/left /run/left left 2>/dev/null; ls -A')).output).toBe(
      '',
    );
  },
);

attack(
  'images',
  'an image with setuid programs, writable places, a start of its own and a user of its own',
  'the container’s options are ours; privileges cannot be gained',
  async () => {
    const own = `switchyard-test-attack-${newToken(6)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, 'x')}:evil`;
    const dockerfile = [
      `FROM ${image}`,
      'USER root',
      'RUN cp /usr/bin/id /usr/local/bin/raise && chmod 6755 /usr/local/bin/raise && mkdir -m 777 /open && echo "agent2::0:0::/:/bin/sh" >> /etc/passwd',
      `LABEL ${labels.session}=victim ${labels.instance}=${stage.instance}-other ${labels.workspace}=victim`,
      'ENV HTTP_PROXY=http://evil.test BASH_ENV=/open/x',
      'ENTRYPOINT ["/bin/false"]',
      'CMD ["false"]',
      'WORKDIR /etc',
      'EXPOSE 80',
    ].join('\n');
    const built = docker(['build', '-q', '--network', 'none', '-t', own, '-'], dockerfile);
    expect([built.status, built.text.slice(0, 300)]).toEqual([0, expect.any(String)]);
    made.push(own);
    expect(
      docker(['run', '--rm', '--network', 'none', '--user', '10001', '--entrypoint', 'raise', own, '-u']).text.trim(),
    ).toBe('0');
    const sessionId = stage.newSession();
    const sandbox = await stage
      .open(worker, sessionId, { image: own })
      .catch((err: { readonly code?: string }) => err.code);
    if (typeof sandbox === 'string' || sandbox === undefined) {
      expect(sandbox).toBe('image.invalid');
      return;
    }
    expect((await run(sandbox, 'raise -u; id -u; pwd; touch /open/x 2>&1')).output).toMatch(
      /^10001\n10001\n\/workspace\n.*Read-only/,
    );
    const info = await stage.container(sessionId);
    expect(info?.Config.Labels).toMatchObject({ [labels.session]: sessionId, [labels.instance]: stage.instance });
    expect(info?.HostConfig.NetworkMode).toBe('none');
  },
);

attack(
  'images',
  'an image without users and without a toolbox',
  'refused by name before a container is made',
  async () => {
    const own = `switchyard-test-attack-${newToken(6)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, 'x')}:empty`;
    expect(docker(['import', '-', own], '').status).toBe(0);
    made.push(own);
    const sessionId = stage.newSession();
    await expect(stage.open(worker, sessionId, { image: own })).rejects.toMatchObject({ code: 'image.invalid' });
    expect(await stage.container(sessionId)).toBeUndefined();
  },
);

attack(
  'images',
  'the name of an image that is an option or a place of elsewhere',
  'looked up by the engine as a name and never pulled',
  async () => {
    for (const image of ['--privileged', '../../x', 'evil.test/x:1', 'x y']) {
      // As if no profile had been read: what it says is refused before.
      const limits = { ...sandboxLimitsSchema.parse({}), image };
      const opening = worker.open({ sessionId: stage.newSession(), agent: 'tester', limits }, signal);
      await expect(opening).rejects.toMatchObject({ code: expect.stringMatching(/^(?:image|config|sandbox)\./) });
    }
  },
);
