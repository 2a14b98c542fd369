import { expect, test } from 'vitest';
import { isDockerHosts, readDockerHosts } from '#app/docker-hosts.ts';

test('one engine is the local one, and shares its files', () => {
  expect(readDockerHosts(undefined, undefined, undefined)).toEqual([{ name: 'local', sharesFiles: true }]);
  expect(readDockerHosts('tcp://proxy:2375', undefined, undefined)).toEqual([
    { name: 'local', url: 'tcp://proxy:2375', sharesFiles: true },
  ]);
});

test('several engines have names, and only sockets of this machine share files unless told', () => {
  const text = 'here=unix:///var/run/docker.sock, big=tcp://big:2376,tcp://10.0.0.7:2375,nfs=https://n:1?files=shared';
  expect(readDockerHosts('unix:///ignored', text, '/certs')).toEqual([
    { name: 'here', url: 'unix:///var/run/docker.sock', sharesFiles: true, certPath: '/certs' },
    { name: 'big', url: 'tcp://big:2376', sharesFiles: false, certPath: '/certs' },
    { name: '10.0.0.7', url: 'tcp://10.0.0.7:2375', sharesFiles: false, certPath: '/certs' },
    { name: 'nfs', url: 'https://n:1', sharesFiles: true, certPath: '/certs' },
  ]);
  expect(readDockerHosts(undefined, 'big=unix:///run/big.sock?files=apart', undefined)).toEqual([
    { name: 'big', url: 'unix:///run/big.sock', sharesFiles: false },
  ]);
});

test.each([
  ['nothing', ''],
  ['a name twice', 'a=tcp://x:1,a=tcp://y:1'],
  ['no address', 'a='],
  ['an address of another kind', 'a=ssh://root@x'],
  ['an option nobody knows', 'a=tcp://x:1?files=maybe'],
  ['a name with blanks', 'my host=tcp://x:1'],
])('%s is no list of engines', (_, text) => {
  expect(isDockerHosts(text)).toBe(false);
});
