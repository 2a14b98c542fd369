import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { closedAccess } from '#core/people/access.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'sw-access-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(yaml: string): ReturnType<typeof loadConfig> {
  writeFileSync(path.join(folder, 'switchyard.yaml'), yaml);
  return loadConfig({ SWITCHYARD_MODEL: 'demo' }, folder);
}

test('without a word every channel works for paired people only', () => {
  expect(load('').access).toEqual({ telegram: closedAccess, slack: closedAccess, discord: closedAccess });
});

test('lists, modes and rooms are read, numbers as ids too', () => {
  const { telegram } = load(`
channels:
  telegram:
    allow:
      people: [12345, "-7"]
      rooms: [-1001234567890]
      group: closed
      requests: true
    rooms:
      -1001234567890: { mention: optional }
`).access;
  expect(telegram).toEqual({
    ...closedAccess,
    people: ['12345', '-7'],
    rooms: ['-1001234567890'],
    modes: { dm: 'paired', group: 'closed', channel: 'paired' },
    roomSettings: { '-1001234567890': { mention: 'optional' } },
    asksOwners: true,
  });
});

test('an id that YAML would round is refused with its line, also as the name of a room', () => {
  expect(() => load('channels:\n  discord:\n    allow:\n      people: [123456789012345678]\n')).toThrow(
    /switchyard\.yaml:4:16: 123456789012345678 is too long for a number\. Put quotes around it\./,
  );
  expect(() => load('channels:\n  discord:\n    rooms:\n      123456789012345678: {}\n')).toThrow(
    /:4:7: 123456789012345678 is too long/,
  );
});

test('a wrong mode and a misspelt list name their line and the nearest word', () => {
  expect(() => load('channels:\n  slack:\n    allow:\n      group: private\n')).toThrow(
    /switchyard\.yaml:4:14: channels\.slack\.allow\.group/,
  );
  expect(() => load('channels:\n  slack:\n    allow:\n      peopel: [U1]\n')).toThrow(/Did you mean "people"/);
});
