import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, fetch as undiciFetch } from 'undici';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { createGuardedFetch } from '#workers/egress/guarded-fetch.ts';
import { guardedLookup } from '#workers/egress/reach.ts';

/**
 * Tries every known way to a machine that is none of the public internet, against a victim that really listens on those
 * addresses, with the guard and with halves of it. Meant for a network namespace of its own; prints one JSON object.
 */
const port = 8080;
const publicAddress = '93.184.216.34';
const aliases = [`${publicAddress}/32`, '169.254.169.254/32', '10.9.8.7/32', '100.100.100.200/32'];
const aliases6 = ['64:ff9b::7f00:1/128', '2002:7f00:1::/128', '::7f00:1/128', 'fd00:ec2::254/128'];

const names: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'public.test': [[publicAddress]],
  'private.test': [['127.0.0.1']],
  'private6.test': [['::1']],
  'mapped.test': [['::ffff:127.0.0.1']],
  'metadata.test': [['169.254.169.254']],
  'zero.test': [['0.0.0.0']],
  'inner.test': [['10.9.8.7']],
  'both.test': [['127.0.0.1', publicAddress]],
  'rebind.test': [[publicAddress], ['127.0.0.1']],
  'localhost.localdomain': [['127.0.0.1']],
};
const to = (target: string): string => `http://public.test:${port}/to?${encodeURIComponent(target)}`;
const v = `:${port}/victim`;

const cases: Readonly<Record<string, string>> = {
  decimal: `http://2130706433${v}`,
  octal: `http://0177.0.0.1${v}`,
  'octal parts': `http://0177.0000.0000.0001${v}`,
  hex: `http://0x7f000001${v}`,
  'hex parts': `http://0x7f.0x0.0x0.0x1${v}`,
  short: `http://127.1${v}`,
  'another loopback': `http://127.8.9.10${v}`,
  zero: `http://0${v}`,
  unspecified: `http://0.0.0.0${v}`,
  'IPv6 loopback': `http://[::1]${v}`,
  'IPv6 unspecified': `http://[::]${v}`,
  mapped: `http://[::ffff:127.0.0.1]${v}`,
  'mapped in hex': `http://[::ffff:7f00:1]${v}`,
  'v4-compatible': `http://[::127.0.0.1]${v}`,
  NAT64: `http://[64:ff9b::7f00:1]${v}`,
  '6to4': `http://[2002:7f00:1::]${v}`,
  'user name': `http://public.test@127.0.0.1${v}`,
  'backslash and at': `http://127.0.0.1:${port}\\@public.test/victim`,
  'trailing dot': `http://127.0.0.1.${v}`,
  localhost: `http://localhost${v}`,
  'localhost with a dot': `http://localhost.${v}`,
  'localhost.localdomain': `http://localhost.localdomain${v}`,
  'unicode digits': `http://①②⑦.⓪.⓪.①${v}`,
  'ideographic dots': `http://127。0。0。1${v}`,
  'escaped dots': `http://127%2e0%2e0%2e1${v}`,
  'a tab': `http://127.0.\t0.1${v}`,
  'a name of 127.0.0.1': `http://private.test${v}`,
  'a name of ::1': `http://private6.test${v}`,
  'a name of a mapped address': `http://mapped.test${v}`,
  'a name of 0.0.0.0': `http://zero.test${v}`,
  'a name of a private address': `http://inner.test${v}`,
  'a private address': `http://10.9.8.7${v}`,
  'metadata service': `http://169.254.169.254${v}`,
  'metadata in decimal': `http://2852039166${v}`,
  'metadata by name': `http://metadata.test${v}`,
  'metadata by IPv6': `http://[fd00:ec2::254]${v}`,
  'metadata behind a carrier': `http://100.100.100.200${v}`,
  'a name with two addresses': `http://both.test${v}`,
  'a name that changes': `http://rebind.test${v}`,
  'redirect to an address': to(`http://127.0.0.1${v}`),
  'redirect to decimal': to(`http://2130706433${v}`),
  'redirect to a name': to(`http://private.test${v}`),
  'redirect over two hosts': to(to(`http://[::1]${v}`)),
  'redirect to metadata': to(`http://169.254.169.254${v}`),
  'a zone id': `http://[fe80::1%25lo]${v}`,
};

const isAlone = prepare();
let reached = 0;
const server = createServer((request, response) => {
  const [path, target = ''] = (request.url ?? '').split('?');
  if (path === '/to') response.writeHead(302, { location: decodeURIComponent(target) }).end();
  else if (request.socket.localAddress?.endsWith(publicAddress) === true) response.end('public');
  else {
    reached += 1;
    response.end('victim');
  }
});
await new Promise<void>((resolve) => server.listen(port, '::', resolve));

/** Every case begins with the names as they were. */
function freshLookup(): LookupFunction {
  const turns = new Map<string, number>();
  return (hostname, options, callback) => {
    const name = hostname.replace(/\.$/, '');
    const turn = turns.get(name) ?? 0;
    turns.set(name, turn + 1);
    const lists = name === 'localhost' ? [['127.0.0.1', '::1']] : (names[name] ?? []);
    const found = (lists[Math.min(turn, lists.length - 1)] ?? []).map((address) => ({
      address,
      family: isIP(address),
    }));
    const [first] = found;
    if (first === undefined) callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), '', 0);
    else if (options.all === true) callback(null, found, 0);
    else callback(null, first.address, first.family);
  };
}

const guarded = (totalMs: number) => async (url: string) =>
  await createGuardedFetch({ allowsHttp: true, ports: 'any', lookup: freshLookup(), totalMs })(url);

/** On a busy machine the first address of a name must not be given up for the next after a quarter of a second. */
const connecting = { autoSelectFamilyAttemptTimeout: 10_000 };

const ways: Readonly<Record<string, (url: string) => Promise<unknown>>> = {
  nothing: async (url) =>
    await undiciFetch(url, { dispatcher: new Agent({ connect: { ...connecting, lookup: freshLookup() } }) }),
  'look-up alone': async (url) =>
    await undiciFetch(url, {
      dispatcher: new Agent({ connect: { ...connecting, lookup: guardedLookup({ lookup: freshLookup() }, port) } }),
    }),
  'check, then fetch': async (url) => {
    const lookup = freshLookup();
    const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
    const addresses =
      isIP(host) !== 0
        ? [host]
        : await new Promise<string[]>((resolve) =>
            lookup(host, { all: true }, (_err, found) =>
              resolve(typeof found === 'string' ? [] : found.map(({ address }) => address)),
            ),
          );
    const guard = createAddressGuard();
    if (addresses.some((address) => guard.refusal(address) !== undefined)) throw new Error('refused');
    return await undiciFetch(url, { dispatcher: new Agent({ connect: { ...connecting, lookup } }) });
  },
  guard: guarded(3_000),
};

const results: Record<string, string[]> = {};
for (const [way, send] of Object.entries(ways)) {
  const hits: string[] = [];
  for (const [name, url] of Object.entries(cases)) {
    const before = reached;
    await send(url).catch(() => undefined);
    if (reached > before) hits.push(name);
  }
  results[way] = hits;
}
const open = await guarded(20_000)(`http://public.test:${port}/hello`).then(
  async (response) => await response.text(),
  (err: unknown) => String(err),
);
process.stdout.write(`${JSON.stringify({ isAlone, cases: Object.keys(cases), results, open })}\n`);
process.exit(0);

/** Puts the addresses on the loopback of this namespace; never on that of the machine. */
function prepare(): boolean {
  if (process.env['SSRF_ALONE'] !== '1') return false;
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  for (const address of aliases) execFileSync('ip', ['addr', 'add', address, 'dev', 'lo']);
  for (const address of aliases6) execFileSync('ip', ['-6', 'addr', 'add', address, 'dev', 'lo', 'nodad']);
  return true;
}
