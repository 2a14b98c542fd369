import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decideEgress, decideTunnel } from '#core/egress/decide-egress.ts';
import { type EgressRule, egressRuleSchema, ruleProblems } from '#core/egress/egress-rule.ts';
import { readPath } from '#core/egress/url-path.ts';

const rules = (...items: unknown[]): EgressRule[] => items.map((item) => egressRuleSchema.parse(item));

function ask(list: readonly EgressRule[], method: string, url: string, from: 'tools' | 'sandbox' = 'tools'): string {
  const verdict = decideEgress(list, { from, method, url: new URL(url) }, 'scout');
  return verdict.effect === 'allow' ? 'allow' : verdict.reason;
}

test('nothing is let out without a rule, and the refusal says which rule would do', () => {
  expect(ask([], 'GET', 'https://api.example.org/v1')).toBe(
    'GET api.example.org/v1 is refused: no rule covers this host for tools. An operator can add { host: api.example.org } to the egress rules of agents/scout.md.',
  );
  expect(ask([], 'POST', 'https://api.example.org:8443/v1')).toContain("methods: ['POST'], ports: [8443]");
});

test('a rule lets out reading on 443 and 80 of its host, and nothing else, unless it says more', () => {
  const list = rules({ host: 'api.example.org' });
  expect(ask(list, 'GET', 'https://api.example.org/any/path?q=1')).toBe('allow');
  expect(ask(list, 'HEAD', 'http://API.EXAMPLE.ORG./')).toBe('allow');
  expect(ask(list, 'POST', 'https://api.example.org/')).toMatch(/allows GET, HEAD.*add methods: \[POST\]/);
  expect(ask(list, 'GET', 'https://api.example.org:8443/')).toMatch(/opens port 443, 80.*add ports: \[8443\]/);
  for (const host of ['example.org', 'xapi.example.org', 'api.example.org.evil.org', 'sub.api.example.org']) {
    expect(ask(list, 'GET', `https://${host}/`)).toMatch(/no rule covers/);
  }
});

test('a pattern of hosts covers what is below the name and not the name itself', () => {
  const list = rules({ host: '*.example.org' });
  expect(ask(list, 'GET', 'https://a.example.org/')).toBe('allow');
  expect(ask(list, 'GET', 'https://a.b.example.org/')).toBe('allow');
  expect(ask(list, 'GET', 'https://example.org/')).toMatch(/refused/);
  expect(ask(list, 'GET', 'https://evilexample.org/')).toMatch(/refused/);
});

test('a rule for the sandbox does not hold for tools, nor the other way round', () => {
  const list = rules({ host: 'a.org', from: 'sandbox' }, { host: 'b.org', from: 'tools' });
  expect(ask(list, 'GET', 'https://a.org/', 'sandbox')).toBe('allow');
  expect(ask(list, 'GET', 'https://a.org/', 'tools')).toMatch(/refused/);
  expect(ask(list, 'GET', 'https://b.org/', 'sandbox')).toMatch(/for the sandbox/);
});

const guarded = rules({ host: 'h.org', paths: ['/public/**', '/v1/users/*'] });

test.each([
  '/public/a',
  '/public',
  '/public/a/b?x=../..',
  '/v1/users/42',
  '/%70ublic/a',
  '/public/./a',
  '/public/x/../a',
  '/public/a%20b',
])('the path %s is within its rule', (path) => expect(ask(guarded, 'GET', `https://h.org${path}`)).toBe('allow'));

test.each([
  '/',
  '/publicity',
  '/public/../admin',
  '/public/%2e%2e/admin',
  '/public/..%2fadmin',
  '/public/%2e%2e%2fadmin',
  '/public/%252e%252e/admin',
  '/public/%25252e%25252e/admin',
  '/public/..;/admin',
  '/public/..;x=1/admin',
  '/public/..%5cadmin',
  '/public\\..\\admin',
  '/public/%00/a',
  '/public/a%0d%0aHost:%20x',
  '/public/%1b[2J',
  '/public/%c2%9b31m',
  '/public/%e2%80%ae',
  '/public/%e2%80%a8',
  '/v1/users/42/keys',
  '/v1/users/4%2f2',
  '/v1/users/..%2f..%2fadmin',
  '//admin',
  '/v1//users/42/x',
  '/PUBLIC/a',
])('the path %s is not', (path) => expect(ask(guarded, 'GET', `https://h.org${path}`)).toMatch(/refused/));

test('a rule for all paths still refuses what hides its segments, and takes escaped slashes', () => {
  const list = rules({ host: 'gitlab.org' });
  expect(ask(list, 'GET', 'https://gitlab.org/api/projects/group%2Fproject')).toBe('allow');
  expect(ask(list, 'GET', 'https://gitlab.org/a/..%2f..%2fb')).toMatch(/hides/);
});

test('a path is decoded to what every server would read', () => {
  expect(readPath('/a//b;p=1/%63?')).toMatchObject({ ok: true, plain: '/a/b/c?' });
  expect(readPath('/100%')).toMatchObject({ ok: true, plain: '/100%' });
  expect(readPath('/%D9%85%DB%8C%E2%80%8C%D8%AE')).toMatchObject({ ok: true });
  expect(readPath('/caf%E9')).toMatchObject({ ok: true, plain: '/café' });
  expect(readPath(`/${'%25'.repeat(1)}${'25'.repeat(9)}41`)).toMatchObject({ ok: false });
});

test('a tunnel takes a rule that opens the host as a whole, and no credential', () => {
  const tunnel = (list: readonly EgressRule[], host = 'pypi.org', port = 443) => {
    const verdict = decideTunnel(list, { host, port }, 'scout');
    return verdict.effect === 'allow' ? 'allow' : verdict.reason;
  };
  expect(tunnel(rules({ host: 'pypi.org', methods: ['*'] }))).toBe('allow');
  expect(tunnel(rules({ host: 'pypi.org' }))).toMatch(/tunnel hides.*http:\/\/gateway\/pypi.org\//);
  expect(tunnel(rules({ host: 'pypi.org', methods: ['*'], paths: ['/simple/**'] }))).toMatch(/tunnel hides/);
  expect(tunnel(rules({ host: 'pypi.org', methods: ['*'], from: 'tools' }))).toMatch(/no rule covers/);
  expect(tunnel(rules({ host: 'pypi.org', methods: ['*'] }), 'pypi.org', 22)).toMatch(/opens port 443, 80/);
  expect(
    tunnel(rules({ host: 'pypi.org', methods: ['*'] }, { host: '*.org', methods: ['*'], credential: 'key' })),
  ).toMatch(/credential/);
});

test('a rule that would send a credential anywhere, openly, or as framing is refused', () => {
  const problems = (item: unknown) => ruleProblems(egressRuleSchema.parse(item)).map(({ key }) => key);
  expect(problems({ host: '*', credential: 'key' })).toEqual(['credential']);
  expect(problems({ host: 'a.org', credential: 'key', ports: [80] })).toEqual(['ports']);
  expect(problems({ host: 'a.org', credential: 'key', header: 'Host' })).toEqual(['header']);
  expect(problems({ host: 'a.org', header: 'X-Key' })).toEqual(['header']);
  expect(problems({ host: '*.a.org', credential: 'key', header: 'X-Api-Key' })).toEqual([]);
});

test.each([
  'https://a.org',
  'a.org:443',
  'A.org',
  'a.org/',
  'a_b.org',
  '*.*.org',
  'a.*',
  '-a.org',
  '',
  'a..org',
  '*a.org',
  'a.org.',
  '127.1',
  '2130706433',
  '[0:0::1]',
])('%j is no host of a rule', (host) => expect(egressRuleSchema.safeParse({ host }).success).toBe(false));

test.each(['a.org', '*.a.org', '*', 'localhost', '10.0.0.1', '[::1]', 'xn--bcher-kva.example'])('%j is one', (host) =>
  expect(egressRuleSchema.safeParse({ host }).success).toBe(true),
);

test('no way of writing a path leads out of its rule, whatever order a server decodes, cleans and resolves it in', () => {
  const pieces = [
    'public',
    'admin',
    '..',
    '.',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '\\',
    '/',
    '//',
    ';x',
    ';',
    '%3b',
    '%252e',
    '%252f',
    '%25',
    'a',
    '%70ublic',
    '~',
    '%20',
    '...',
  ];
  const decode = (path: string) =>
    path.replaceAll(/%([0-9a-f]{2})/gi, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const slashes = (path: string) => path.replaceAll('\\', '/');
  const parameters = (path: string) => path.replaceAll(/;[^/]*/g, '');
  const collapse = (path: string) => path.replaceAll(/\/{2,}/g, '/');
  const resolve = (path: string) => {
    const out: string[] = [];
    for (const segment of path.split('/').slice(1)) {
      if (segment === '..') out.pop();
      else if (segment !== '.') out.push(segment);
    }
    return `/${out.join('/')}`;
  };
  const steps = [decode, slashes, parameters, collapse, resolve];
  const list = rules({ host: 'h.org', paths: ['/public/**'] });
  let allowed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...pieces), { maxLength: 8 }),
      fc.array(fc.constantFrom(...steps), { maxLength: 8 }),
      (parts, server) => {
        const url = URL.parse(`https://h.org/public/${parts.join('')}`);
        if (url === null) return;
        const verdict = decideEgress(list, { from: 'tools', method: 'GET', url }, 'scout');
        if (verdict.effect === 'refuse') return;
        allowed += 1;
        const read = server.reduce((path, step) => step(path), url.pathname);
        // Letters are the same written either way, also to who does not decode.
        expect(collapse(read.replaceAll('%70', 'p'))).toMatch(/^\/public(?:\/|$)/);
      },
    ),
    { numRuns: 20_000 },
  );
  expect(allowed).toBeGreaterThan(1_000);
});
