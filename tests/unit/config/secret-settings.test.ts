import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sw-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('keys and the passwords of addresses are known to be secret, plain words and the addresses are not', () => {
  writeFileSync(
    path.join(folder, 'switchyard.yaml'),
    'webhooks:\n  - { url: https://hook.example.org/x, events: [approval.requested], secret_env: HOOK_SECRET }\n',
  );
  const { secrets } = loadConfig(
    {
      OPENAI_API_KEY: 'sk-live-1234567890',
      GROQ_API_KEY: 'not-needed',
      DATABASE_URL: 'postgres://ada:p%40ss-W0rd@db.example.org/x',
      REDIS_URL: 'redis://:switchyard@127.0.0.1:6379',
      HOOK_SECRET: 'h00k-secret-0123456789',
      SWITCHYARD_MODEL: 'openai:gpt-4o',
    },
    folder,
  );
  expect(secrets).toEqual([
    { label: 'OPENAI_API_KEY', value: 'sk-live-1234567890' },
    { label: 'DATABASE_URL', value: 'p%40ss-W0rd' },
    { label: 'DATABASE_URL', value: 'p@ss-W0rd' },
    { label: 'the web hook secret for hook.example.org', value: 'h00k-secret-0123456789' },
  ]);
});

test('the master key is in a file of the data directory, in a file of ours, or with a program', () => {
  const vault = (env: Record<string, string>) => loadConfig(env, folder).vault;
  expect(vault({})).toEqual({
    kind: 'file',
    file: path.join(folder, '.switchyard/data/master-key'),
    mayCreate: true,
  });
  expect(vault({ SWITCHYARD_MASTER_KEY_FILE: 'keys/master' })).toEqual({
    kind: 'file',
    file: path.join(folder, 'keys/master'),
    mayCreate: false,
  });
  expect(vault({ SWITCHYARD_KMS_COMMAND: ' /usr/bin/kms  --key a;b ' })).toEqual({
    kind: 'command',
    command: ['/usr/bin/kms', '--key', 'a;b'],
  });
  expect(() => vault({ SWITCHYARD_MASTER_KEY_FILE: 'a', SWITCHYARD_KMS_COMMAND: 'b' })).toThrowError(/are both set/);
});
