import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { prepareSandbox } from '#app/compose/prepare-sandbox.ts';

const log = pino({ level: 'silent' });

function installWith(script: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-prepare-'));
  mkdirSync(path.join(folder, 'sandbox-image'));
  const file = path.join(folder, 'sandbox-image/build');
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return folder;
}

async function said(found: { ok: boolean; missing?: 'engine' | 'image' }, script = 'exit 0'): Promise<string[]> {
  const lines: string[] = [];
  await prepareSandbox(
    {
      sandboxes: { check: async () => ({ detail: 'It is not there.', mend: 'Put it there.', ...found }) },
      log,
      installDir: installWith(script),
      print: (text) => lines.push(text),
    },
    new AbortController().signal,
  );
  return lines;
}

test('a sandbox that works is not worth a word', async () => {
  expect(await said({ ok: true })).toEqual([]);
});

test('a missing image is built, and the person is told before and after', async () => {
  const lines = await said({ ok: false, missing: 'image' });
  expect(lines).toEqual([expect.stringContaining('building the image'), 'Sandbox: ready.']);
});

test('a build that fails is told with its last words and how to see more', async () => {
  const lines = await said(
    { ok: false, missing: 'image' },
    'echo first; echo "debootstrap is not installed" >&2; exit 3',
  );
  expect(lines.at(-1)).toMatch(/could not be built: debootstrap is not installed.*sandbox build/);
});

test('without an engine nothing is built, and the mend is told', async () => {
  const lines = await said({ ok: false, missing: 'engine' }, 'echo built');
  expect(lines).toEqual(['Sandbox: It is not there. Put it there. Everything else works without it.']);
});
