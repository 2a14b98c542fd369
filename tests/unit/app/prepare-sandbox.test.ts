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

type Found = { ok: boolean; missing?: 'engine' | 'image' };

async function said(found: Found, script = 'exit 0', browser?: Found): Promise<string[]> {
  const lines: string[] = [];
  await prepareSandbox(
    {
      sandboxes: {
        check: async (kind) => ({
          detail: 'It is not there.',
          mend: 'Put it there.',
          ...(kind === 'browser' ? (browser ?? { ok: false }) : found),
        }),
      },
      needsBrowser: browser !== undefined,
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

test('the image of browsers is built where an agent has the browser, after the first', async () => {
  const script = 'echo "built $*" >> built; [ "$*" = --browser ] || exit 0; grep -c . built; exit 3';
  const missing = { ok: false, missing: 'image' } as const;
  expect(await said({ ok: true }, 'exit 0', missing)).toEqual([
    expect.stringContaining('building the image of the browser'),
    'Sandbox: the browser is ready.',
  ]);
  // The second build saw the first.
  expect((await said(missing, script, missing)).at(-1)).toMatch(/could not be built: 2 Try .*sandbox build --browser/);
});
