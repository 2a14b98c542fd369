import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import type { CliDeps } from '#cli/cli-deps.ts';
import { openQuestions } from '#cli/questions.ts';
import { addVault } from '#cli/vault.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import { openCredentials } from '#core/vault/open-credentials.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openFakeTerminal } from '#tests/support/fake-terminal.ts';

const value = 'Xq7-at-terminal-0123';

test('at a terminal the value is asked for and not shown', async () => {
  await using database = await openTestDatabase(3);
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-vault-'));
  const terminal = openFakeTerminal();
  const kek = openFileKek({ file: path.join(folder, 'master-key'), mayCreate: true });
  const signal = new AbortController().signal;
  // Nothing else is asked of it by these commands.
  const deps = {
    terminal: { stdout: terminal.stdout, stderr: terminal.stdout, hasColour: false },
    openDatabase: async () => await Promise.resolve({ db: database.db, [Symbol.asyncDispose]: async () => undefined }),
    openKek: () => kek,
    openQuestions: () => openQuestions({ stdin: terminal.stdin, stdout: terminal.stdout, signal }),
  } as unknown as CliDeps;
  const program = new Command();
  addVault(program, deps);
  const line = ['vault', 'set', 'typed_token', '--agent', 'assistant', '--host', 'api.example.org'];
  const running = program.parseAsync(line, { from: 'user' });
  await eventually(() => expect(terminal.raw()).toContain('Value of typed_token (not shown): '));
  terminal.type(`${value}\r`);
  await running;
  await eventually(() => expect(terminal.raw()).toContain('Kept: typed_token, version 1.'));
  expect(terminal.raw()).not.toContain(value.slice(0, 5));
  const credentials = openCredentials({ db: database.db, kek, secrets: createSecretBook() });
  expect(await credentials.resolve('typed_token', { agent: 'assistant', host: 'api.example.org' })).toBe(value);
  rmSync(folder, { recursive: true });
});
