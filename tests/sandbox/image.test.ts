import { execFile, spawnSync } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, inject, test } from 'vitest';
import { z } from 'zod';
import { newToken } from '#core/kit/ids.ts';
import { openSandboxStage, run } from '#tests/support/sandbox-stage.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { inspectImage, readBill } from '#workers/sandbox/inspect-image.ts';
import { protocolVersion } from '#workers/sandbox/toolbox-protocol.ts';

const root = path.resolve(import.meta.dirname, '../..');
const engine = openEngine(inject('dockerHost'));
const core = inject('sandboxImage');
const name = `switchyard-test-own-${newToken(6)
  .toLowerCase()
  .replaceAll(/[^a-z0-9]/g, 'x')}`;
const made: string[] = [];

function docker(args: readonly string[], input = ''): { readonly status: number | null; readonly text: string } {
  const env = { ...process.env, DOCKER_HOST: inject('dockerHost'), DOCKER_BUILDKIT: '0' };
  const done = spawnSync('docker', args, { env, input, encoding: 'utf8' });
  return { status: done.status, text: done.stdout + done.stderr };
}

/** An image of somebody's own. */
function imageOf(tag: string, dockerfile: string): string {
  const image = `${name}:${tag}`;
  const built = docker(['build', '-q', '--network', 'none', '-t', image, '-'], dockerfile);
  if (built.status !== 0) throw new Error(built.text);
  made.push(image);
  return image;
}

afterAll(() => {
  if (made.length > 0) docker(['rmi', '-f', ...made]);
});

const billSchema = z.object({
  bomFormat: z.literal('CycloneDX'),
  specVersion: z.literal('1.6'),
  serialNumber: z.string().regex(/^urn:uuid:[0-9a-f-]{36}$/),
  components: z.array(
    z.object({
      name: z.string(),
      version: z.string(),
      purl: z.string(),
      licenses: z.array(z.unknown()).optional(),
      hashes: z.array(z.object({ alg: z.literal('SHA-256'), content: z.string().length(64) })).optional(),
    }),
  ),
});

test('the core image has the tools agents are told of, and they work', async () => {
  await using stage = openSandboxStage();
  const sandbox = await stage.open(stage.worker(), stage.newSession());
  const { output, exitCode } = await run(
    sandbox,
    [
      'set -e',
      'node --version',
      'python3 -c "import ctypes, json, sqlite3, ssl, venv; print(ctypes.CDLL(None).getpid() > 0)"',
      `python3 -c "from PIL import Image; Image.new('RGB', (40, 20)).resize((4, 2)).save('/tmp/x.png'); print('scaled')"`,
      'git --version; rg --version | head -1; jq --version; tmux -V; curl --version | head -1; pdftotext -v 2>&1 | head -1; unzip -v | head -1',
      'git init -q r && cd r && echo tea > a && git add a && git -c user.name=a -c user.email=a@b commit -qm x && git log --oneline | wc -l',
      `node -e "console.log(typeof fetch, require('node:child_process').execSync('echo child').toString().trim())"`,
    ].join('\n'),
  );
  expect([exitCode, output]).toEqual([0, expect.stringMatching(/^v24\.\d+\.\d+\nTrue\nscaled\ngit version/)]);
  expect(output).toMatch(/ripgrep .*\njq-.*\ntmux .*\ncurl .*\npdftotext/s);
  expect(output).toContain('function child');
});

test('nothing in the image raises privileges, and nobody may write outside of /tmp', async () => {
  const found = await inspectImage(engine, core);
  expect(found).toMatchObject({ problems: [], warnings: [] });
});

test('the bill of materials names every package that is installed, with versions and most licences', async () => {
  const bill = billSchema.parse(JSON.parse(await readBill(engine, core)));
  const listed = docker(['run', '--rm', '--network', 'none', core, 'dpkg-query', '-W']);
  const installed = listed.text
    .trim()
    .replaceAll(/(:[a-z0-9]+)?\t/g, ' ')
    .split('\n')
    .sort();
  const debian = bill.components.filter(({ purl }) => purl.startsWith('pkg:deb/'));
  expect(debian.map((part) => `${part.name} ${part.version}`).sort()).toEqual(installed);
  expect(debian.filter(({ licenses }) => licenses !== undefined).length / debian.length).toBeGreaterThan(0.6);
  const copied = new Map(bill.components.filter(({ hashes }) => hashes !== undefined).map((part) => [part.name, part]));
  expect([...copied.keys()].sort()).toEqual(['node', 'switchyard-toolbox']);
  const sums = docker([
    'run',
    '--rm',
    '--network',
    'none',
    core,
    'sha256sum',
    '/usr/local/bin/node',
    '/usr/local/bin/toolbox',
  ]);
  for (const part of copied.values()) expect(sums.text).toContain(part.hashes?.[0]?.content ?? 'none');
});

test('an image made from ours works as a sandbox, with what was added', async () => {
  const own = imageOf(
    'good',
    `FROM ${core}\nUSER root\nRUN echo 'echo brewed' > /usr/local/bin/brew && chmod 755 /usr/local/bin/brew && /usr/local/lib/switchyard/finish\nUSER 10002:10002\n`,
  );
  expect(await inspectImage(engine, own)).toMatchObject({ problems: [], warnings: [] });
  await using stage = openSandboxStage();
  const sandbox = await stage.open(stage.worker(), stage.newSession(), { image: own });
  expect((await run(sandbox, 'brew; id -u')).output).toBe('brewed\n10001\n');
});

test('finish takes away what raises privileges and what differs between builds', async () => {
  const own = imageOf(
    'messy',
    `FROM ${core}\nUSER root\nRUN cp /bin/true /usr/local/bin/raise && chmod 6755 /usr/local/bin/raise && mkdir -m 777 /open && date +%N > /var/log/made && date +%N > /var/cache/apt/x && /usr/local/lib/switchyard/finish\nUSER 10002:10002\n`,
  );
  expect(await inspectImage(engine, own)).toMatchObject({ problems: [], warnings: [] });
  const left = docker([
    'run',
    '--rm',
    '--network',
    'none',
    own,
    'sh',
    '-c',
    'ls /var/log /var/cache/apt; stat -c %Y /usr/local/bin/raise',
  ]);
  expect(left.text.replaceAll(/\/var\/\S+:|\s/g, '')).toBe('1767225600');
});

test('an image without a toolbox, or with one of another version, is refused with what to do', async () => {
  const none = imageOf('none', `FROM ${core}\nLABEL switchyard.toolbox=\n`);
  const older = imageOf('older', `FROM ${core}\nLABEL switchyard.toolbox=${protocolVersion - 1}\n`);
  const foreign = docker(['import', '-', `${name}:foreign`], '');
  made.push(`${name}:foreign`);
  expect(foreign.status).toBe(0);
  await using stage = openSandboxStage();
  const worker = stage.worker();
  for (const image of [older, none, `${name}:foreign`]) {
    await expect(stage.open(worker, stage.newSession(), { image })).rejects.toMatchObject({
      code: 'image.invalid',
      isForChat: true,
      mend: expect.stringMatching(/sandbox build --all|FROM switchyard-sandbox/),
    });
  }
  await expect(stage.open(worker, stage.newSession(), { image: `${name}:absent` })).rejects.toMatchObject({
    code: 'image.missing',
  });
});

test('check-image tells everything that is wrong with an image, and its exit code says whether it is fit', () => {
  const bad = imageOf(
    'bad',
    `FROM ${core}\nUSER root\nRUN cp /bin/true /usr/local/bin/raise && chmod 4755 /usr/local/bin/raise && mkdir -m 777 /open && userdel agent && rm /usr/local/bin/toolbox /usr/share/switchyard/sbom.json\nUSER 10002:10002\n`,
  );
  const cli = (...args: string[]) =>
    spawnSync(process.execPath, [path.join(root, 'app/switchyard.main.ts'), 'sandbox', ...args], {
      env: { ...process.env, DOCKER_HOST: inject('dockerHost') },
      encoding: 'utf8',
    });
  const checked = cli('check-image', bad);
  expect(checked.status).toBe(1);
  for (const what of [
    'toolbox is missing',
    'The user agent',
    '/usr/local/bin/raise',
    '/open',
    'no bill of materials',
  ]) {
    expect(checked.stdout).toContain(what);
  }
  expect(cli('check-image', core).status).toBe(0);
  const json = z.object({ fit: z.boolean() }).parse(JSON.parse(cli('check-image', core, '--json').stdout));
  expect(json.fit).toBe(true);
  expect(cli('sbom', bad).stderr).toContain('no bill of materials');
  expect(cli('check-image', `${name}:absent`).stderr).toContain('is not there');
});

test('the same sources give the same files when everything is built anew', async () => {
  const env = { ...process.env, DOCKER_HOST: inject('dockerHost') };
  const { stdout } = await promisify(execFile)(path.join(root, 'sandbox-image/build'), ['--verify'], { env });
  expect(stdout).toMatch(/two builds of core are the same: \d{4,} lines/);
}, 600_000);
