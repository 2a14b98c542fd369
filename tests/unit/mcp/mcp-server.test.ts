import { expect, test } from 'vitest';
import { isListed, isTrustedAtSight, mcpServersSchema, riskOf, toMcpServers } from '#core/mcp/mcp-server.ts';

const problems = (setting: unknown): string[] =>
  (mcpServersSchema.safeParse({ web: setting }).error?.issues ?? []).map(
    (issue) => `${issue.path.join('.')}: ${issue.message}`,
  );

test.each([
  ['nothing', {}, /either a command or a url/],
  ['both', { command: ['node'], url: 'https://a.example' }, /either a command or a url/],
  ['plain http', { url: 'http://a.example/mcp' }, /must be https/],
  ['a file address', { url: 'file:///etc/passwd' }, /url/],
  ['files of an address', { url: 'https://a.example', files: 'x' }, /goes with a command/],
  ['a login of a command', { command: ['node'], auth: 'oauth' }, /goes with a url/],
  ['a key in the file', { url: 'https://a.example', auth: 'Bearer abc' }, /is none, oauth or credential/],
  ['a secret in the container', { command: ['node'], environment: { GITHUB_TOKEN: 'x' } }, /own code could read it/],
  ['npx', { command: ['/usr/bin/npx', '-y', 'x'] }, /fetches code at each start/],
  ['a risk nobody knows', { command: ['node'], risk: 'none' }, /risk/],
])('%s is refused with the reason', (_name, setting, reason) => {
  expect(problems(setting).join('\n')).toMatch(reason);
});

test('a name that would not fit a tool name is refused', () => {
  expect(mcpServersSchema.safeParse({ Web: { command: ['node'] } }).success).toBe(false);
  expect(mcpServersSchema.safeParse({ ['a'.repeat(25)]: { command: ['node'] } }).success).toBe(false);
});

test('plain http is possible where the operator opens the own network', () => {
  expect(problems({ url: 'http://10.0.0.7/mcp', allow_private: true })).toEqual([]);
});

test('risk is what the operator says: of the tool, else of the server, else medium', () => {
  const servers = toMcpServers(
    mcpServersSchema.parse({
      web: { url: 'https://a.example', risk: 'high', tools: ['search', { name: 'read', risk: 'low' }] },
      own: { command: ['node'] },
    }),
    (folder) => `/project/${folder}`,
  );
  const [web, own] = [servers.get('web'), servers.get('own')];
  if (web === undefined || own === undefined) throw new Error('missing');
  expect([riskOf(web, 'search'), riskOf(web, 'read'), riskOf(own, 'x')]).toEqual(['high', 'low', 'medium']);
  expect([isListed(web, 'search'), isListed(web, 'delete'), isListed(own, 'x')]).toEqual([true, false, true]);
});

test('only code that lies in the project can be trusted at sight', () => {
  const tools = [{ name: 'read', pin: 'auto' }];
  const servers = toMcpServers(
    mcpServersSchema.parse({
      remote: { url: 'https://a.example', tools },
      image: { command: ['node', '/opt/x.js'], tools },
      own: { command: ['node'], files: 'mcp/own', tools },
    }),
    (folder) => `/project/${folder}`,
  );
  const trusted = [...servers.values()].map((server) => isTrustedAtSight(server, 'read'));
  expect(trusted).toEqual([false, false, true]);
  expect(servers.get('own')).toMatchObject({ files: '/project/mcp/own' });
});
