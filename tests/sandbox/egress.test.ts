import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import type { EgressRecord } from '#core/egress/egress-record.ts';
import { egressRuleSchema } from '#core/egress/egress-rule.ts';
import { attack } from '#tests/support/attack.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { type HopSender, openHopSender } from '#workers/egress/send-hop.ts';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { OpenGateway, Sandbox } from '#workers/sandbox/sandbox.ts';
import { type Certificate, makeCertificate } from '../fakes/web/certificate.ts';
import { fakeNames } from '../fakes/web/names.ts';
import { startUpstream, type Upstream } from '../fakes/web/upstream.ts';
import { openSandboxStage, run, type SandboxStage } from '../support/sandbox-stage.ts';

const secret = 'the-K3y/of+this-test==';
let stage: SandboxStage;
let certificate: Certificate;
let tls: Upstream;
let plain: Upstream;
let sender: HopSender;
let openGateway: OpenGateway;
let records: EgressRecord[];
let worker: DockerSandboxes;

beforeAll(async () => {
  stage = openSandboxStage();
  certificate = makeCertificate(['api.test', 'files.test']);
  const { lookup } = fakeNames({
    'api.test': ['127.0.0.1'],
    'files.test': ['127.0.0.1'],
    'inside.test': ['172.17.0.1'],
  });
  const reach: Reach = { guard: createAddressGuard({ open: ['127.0.0.1'] }), lookup, ca: certificate.cert };
  sender = openHopSender(reach);
  openGateway = createOpenGateway({
    log: pino({ level: 'silent' }),
    journal: {
      admit: async () => ({ ok: true, bytesLeft: 1e9 }),
      spend: () => true,
      record: (record) => void records.push(record),
    },
    credentials: { resolve: async () => secret },
    sender,
    reach,
  });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await sender[Symbol.asyncDispose]();
});
beforeEach(async () => {
  records = [];
  tls = await startUpstream({ tls: certificate });
  plain = await startUpstream();
  worker = stage.worker({}, { openGateway });
});
afterEach(async () => {
  await tls[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
});

const rules = (): readonly unknown[] => [
  { host: 'api.test', ports: [tls.port], methods: ['*'], credential: 'key' },
  { host: 'files.test', ports: [tls.port, plain.port], methods: ['*'] },
  { host: 'inside.test', methods: ['*'], ports: [80, 443, 2375] },
];

async function open(list: readonly unknown[] = rules(), by = worker, sessionId = stage.newSession()): Promise<Sandbox> {
  return await by.open(
    {
      sessionId,
      agent: 'tester',
      limits: sandboxLimitsSchema.parse({ network: 'gateway' }),
      egress: list.map((rule) => egressRuleSchema.parse(rule)),
    },
    new AbortController().signal,
  );
}

const inner = (path: string) => `http://gateway/api.test:${tls.port}${path}`;

test('programs reach allowed hosts through the proxy: by http, by TLS of their own, and by the gateway’s name', async () => {
  const sandbox = await open();
  const script = `
import urllib.request, ssl, json, os
context = ssl._create_unverified_context()
print(urllib.request.urlopen('http://files.test:${plain.port}/by-http').read().decode())
print(urllib.request.urlopen('https://files.test:${tls.port}/by-tls', context=context).read().decode())
print(json.load(urllib.request.urlopen('${inner('/echo')}'))['headers']['authorization'])
`;
  await sandbox.writeFile('try.py', script, { append: false, signal: new AbortController().signal });
  const { output } = await run(sandbox, 'python3 try.py');
  expect(output).toContain('reached /by-http\nreached /by-tls\nBearer ***');
  expect(output).not.toContain(secret.slice(0, 8));
  expect(tls.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([
    ['/by-tls', undefined],
    ['/echo', `Bearer ${secret}`],
  ]);
});

test('git clones and large files arrive: by the gateway’s name, and by a tunnel', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-git-'));
  const git = (...args: string[]) => execFileSync('git', ['-C', folder, ...args], { stdio: 'ignore' });
  try {
    git('init', '-q', '-b', 'main');
    writeFileSync(path.join(folder, 'hello.txt'), 'from the repository\n');
    git('add', '.');
    git('-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '-qm', 'first');
    git('update-server-info');
    const files = readdirSync(path.join(folder, '.git'), { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    );
    const answers = Object.fromEntries(
      files.map((file) => {
        const full = path.join(file.parentPath, file.name);
        const bytes = readFileSync(full);
        return [
          `/repo.git/${path.relative(path.join(folder, '.git'), full)}`,
          (_request: unknown, response: ServerResponse) => void response.end(bytes),
        ];
      }),
    );
    const missing = (_request: unknown, response: ServerResponse) => void response.writeHead(404).end();
    await using server = await startUpstream({
      tls: certificate,
      answers: {
        ...answers,
        '/repo.git/objects/info/alternates': missing,
        '/repo.git/objects/info/http-alternates': missing,
      },
    });
    const sandbox = await open([{ host: 'files.test', ports: [server.port], methods: ['*'] }]);
    const clone = async (url: string, into: string) =>
      await run(sandbox, `git -c http.sslVerify=false clone -q ${url} ${into} && cat ${into}/hello.txt`, {
        timeoutMs: 60_000,
      });
    expect((await clone(`http://gateway/files.test:${server.port}/repo.git`, 'one')).output).toContain(
      'from the repository',
    );
    expect((await clone(`https://files.test:${server.port}/repo.git`, 'two')).output).toContain('from the repository');
    const refused = await clone('https://other.test/repo.git', 'three');
    expect(refused.output).toMatch(/403/);
    // A larger file, as packages are.
    const big = await run(sandbox, `curl -sSk https://files.test:${server.port}/big?bytes=30000000 | wc -c`, {
      timeoutMs: 60_000,
    });
    expect(big.output.trim()).toBe('30000000');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

attack('network', '21: every other way out', 'no route, no name server, no raw packets', async () => {
  const sandbox = await open();
  const script = `
import socket, errno
def attempt(name, work):
    try:
        work(); print(name, 'REACHED')
    except OSError as err:
        print(name, errno.errorcode.get(err.errno, 'refused') if err.errno else 'refused')
def tcp(host, port):
    s = socket.socket(); s.settimeout(2); s.connect((host, port))
def udp(host):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.sendto(b'x', (host, 53)); s.recv(1)
for host in ('172.17.0.1', '169.254.169.254', '10.0.0.1', '1.1.1.1', '127.0.0.2'):
    attempt('tcp ' + host, lambda: tcp(host, 80))
attempt('udp', lambda: udp('1.1.1.1'))
attempt('dns', lambda: socket.getaddrinfo('example.org', 80))
attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW, 0))
attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
attempt('six', lambda: socket.socket(socket.AF_INET6).connect(('fe80::1', 80, 0, 1)))
`;
  await sandbox.writeFile('out.py', script, { append: false, signal: new AbortController().signal });
  const { output } = await run(sandbox, 'python3 out.py; ip route 2>/dev/null; cat /proc/net/route | wc -l');
  expect(output).not.toContain('REACHED');
  const asked = await run(
    sandbox,
    [
      'inside.test:2375',
      'inside.test',
      '169.254.169.254',
      '[::ffff:a9fe:a9fe]',
      '0x7f000001:5432',
      'localhost:5432',
      'other.test',
    ]
      .map((host) => `curl -s -o /dev/null -w '%{http_code} ' 'http://${host}/'`)
      .join('; '),
    { timeoutMs: 30_000 },
  );
  // What means this machine stays inside, where nobody listens: NO_PROXY has it.
  expect(asked.output.trim()).toBe('403 403 403 403 000 000 403');
});

attack(
  'network',
  'the socket of another sandbox’s gateway',
  'each has its own, in a folder that is read-only',
  async () => {
    const mine = await open();
    const theirs = await open([{ host: 'files.test', ports: [plain.port] }]);
    const listing = await run(
      mine,
      'ls -a /run/host; rm -f /run/host/egress.sock; mv /run/host/egress.sock /tmp/x; ln -s /x /run/host/y; echo done',
    );
    expect(listing.output).toContain('egress.sock');
    expect(listing.output).toMatch(/Read-only file system/);
    expect((await run(mine, `curl -s ${inner('/still')}`)).output).toBe('reached /still');
    // The same socket without the proxy in between has the same rules.
    const direct = await run(theirs, `curl -s --unix-socket /run/host/egress.sock ${inner('/direct')}`);
    expect(direct.output).toContain('no rule covers this host');
    expect((await run(theirs, 'find / -xdev -name "*.sock" 2>/dev/null; grep -c egress /proc/net/unix')).output).toBe(
      '0\n',
    );
  },
);

test('changed rules hold from the next call on, without another container', async () => {
  const sessionId = stage.newSession();
  const before = await open([], worker, sessionId);
  expect((await run(before, `curl -s ${inner('/a')}`)).output).toContain('no rule covers this host');
  const container = await stage.container(sessionId);
  const after = await open(rules(), worker, sessionId);
  expect((await run(after, `curl -s ${inner('/a')}`)).output).toBe('reached /a');
  expect((await stage.container(sessionId))?.Id).toBe(container?.Id);
});

test('the worker that takes a session over carries its requests on, in the same container', async () => {
  const sessionId = stage.newSession();
  const first = stage.worker({}, { openGateway });
  const before = await open(rules(), first, sessionId);
  expect((await run(before, `curl -s ${inner('/first')}`)).output).toBe('reached /first');
  const container = await stage.container(sessionId);
  await first[Symbol.asyncDispose]();
  const second = stage.worker({}, { openGateway });
  const after = await open(rules(), second, sessionId);
  expect((await run(after, `curl -s ${inner('/second')}`)).output).toBe('reached /second');
  expect((await stage.container(sessionId))?.Id).toBe(container?.Id);
});

test('a sandbox without a network has neither socket nor proxy', async () => {
  const sandbox = await stage.open(worker, stage.newSession());
  const { output } = await run(
    sandbox,
    'ls /run/host; env | grep -ci proxy; curl -s --max-time 2 http://127.0.0.1:3128/; echo $?',
  );
  expect(output).not.toContain('egress.sock');
  expect(output).toMatch(/\n0\n7\n$/);
});

test('a sandbox whose agent needs a gateway is not started without one', async () => {
  const bare = stage.worker();
  await expect(open(rules(), bare)).rejects.toMatchObject({ code: 'sandbox.unavailable' });
});

attack(
  'resources',
  'a flood of connections, half requests and uploads',
  'bounded in number, bytes and time',
  async () => {
    const sandbox = await open();
    const before = process.memoryUsage().rss;
    const script = `
import socket, threading, time
held = []
def flood():
    for _ in range(40):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect('/run/host/egress.sock')
            s.send(b'POST http://files.test:${plain.port}/x HTTP/1.1\\r\\nhost: files.test:${plain.port}\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n')
            for _ in range(10): s.send(b'10000\\r\\n' + b'x' * 65536 + b'\\r\\n')
        except OSError: pass
        held.append(s)
threads = [threading.Thread(target=flood) for _ in range(8)]
for t in threads: t.daemon = True; t.start()
time.sleep(3)
print('flooded', len(held))
`;
    await sandbox.writeFile('flood.py', script, { append: false, signal: new AbortController().signal });
    expect((await run(sandbox, 'python3 flood.py', { timeoutMs: 40_000 })).output).toContain('flooded');
    expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
    await expect
      .poll(async () => (await run(sandbox, `curl -s --max-time 5 ${inner('/after')}`)).output)
      .toBe('reached /after');
  },
);

attack('proxy', 'the agent kills the proxy inside', 'it is there again for the next call', async () => {
  const sandbox = await open();
  await run(sandbox, 'kill -9 -1').catch(() => undefined);
  expect((await run(sandbox, `curl -s ${inner('/back')}`)).output).toBe('reached /back');
});
