import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { AppError } from '#core/kit/errors.ts';

let project = '';

beforeEach(() => {
  project = mkdtempSync(path.join(tmpdir(), 'switchyard-config-'));
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

function refusal(env: Record<string, string>): AppError {
  try {
    loadConfig(env, project);
  } catch (err) {
    if (err instanceof AppError) return err;
    throw err;
  }
  throw new Error('the settings were accepted');
}

test('nothing set gives a complete local configuration with the demo model', () => {
  const config = loadConfig({}, project);
  expect(config).toMatchObject({
    dataDir: path.join(project, '.switchyard/data'),
    agentsDir: path.join(project, 'agents'),
    databaseUrl: undefined,
    queueBackend: 'postgres',
    host: '127.0.0.1',
    port: 8420,
    telegram: undefined,
    defaultAgent: 'assistant',
    logLevel: 'info',
  });
  expect(config.defaultModel.text).toBe('demo');
});

test('everything that is wrong is in one message, each with its mend', () => {
  writeFileSync(path.join(project, 'switchyard.yaml'), 'models:\n  defalt: demo\n');
  const { code, message } = refusal({
    DATABASE_URL: 'mysql://somebody@host/name',
    SWITCHYARD_PORT: 'eighty',
    SWITCHYARD_PROT: '80',
    SWITCHYARD_WORKER_SLOTS: '0',
    LOG_LEVEL: 'loud',
    QUEUE_BACKEND: 'redis',
    TELEGRAM_BOT_TOKEN: 'not-a-token',
    TELEGRAM_API_ROOT: 'ftp://example.com',
    OPENAI_BASE_URL: 'api.openai.com',
    DOCKER_HOST: 'somewhere',
    SWITCHYARD_MODEL: 'no-such-model',
    SWITCHYARD_LIMIT_TASK_ROUNDS_MAX: 'many',
  });
  expect(code).toBe('config.invalid');
  expect(message.split('\n')[0]).toBe('13 settings are wrong:');
  for (const name of [
    'DATABASE_URL',
    'SWITCHYARD_PORT ("eighty")',
    'SWITCHYARD_PROT is not a setting. Did you mean SWITCHYARD_PORT?',
    'SWITCHYARD_WORKER_SLOTS ("0")',
    'LOG_LEVEL ("loud")',
    'QUEUE_BACKEND is redis, but REDIS_URL is not set.',
    'TELEGRAM_BOT_TOKEN is not valid.',
    'TELEGRAM_API_ROOT ("ftp://example.com")',
    'OPENAI_BASE_URL ("api.openai.com")',
    'DOCKER_HOST ("somewhere")',
    '"no-such-model" does not name a model.',
    'SWITCHYARD_LIMIT_TASK_ROUNDS_MAX ("many")',
    'switchyard.yaml:2:3: models.defalt is not a setting. Did you mean "default"?',
  ]) {
    expect(message).toContain(name);
  }
});

test('a wrong secret is named but never shown, and neither is a right one', () => {
  const { text } = refusal({
    OPENAI_API_KEY: 'sk-very secret',
    TELEGRAM_BOT_TOKEN: '98765-hidden',
    DATABASE_URL: 'mysql://user:secret@host/name',
    REDIS_URL: 'http://:secret@host',
  });
  expect(text).not.toMatch(/secret@|very|98765/);
  const { settings } = loadConfig(
    { ANTHROPIC_API_KEY: 'sk-ant-pass4711', DATABASE_URL: 'postgres://u:pass4711@host/name' },
    project,
  );
  expect(JSON.stringify(settings)).not.toContain('4711');
  expect(settings.find(({ name }) => name === 'ANTHROPIC_API_KEY')?.value).toBe('set');
});

test('the environment wins over .env, and an empty variable counts as not set', () => {
  writeFileSync(path.join(project, '.env'), 'SWITCHYARD_PORT=1111\nSWITCHYARD_HOST="0.0.0.0"\nLOG_LEVEL=debug\n');
  const config = loadConfig({ SWITCHYARD_PORT: '2222', LOG_LEVEL: '' }, project);
  expect(config).toMatchObject({ port: 2222, host: '0.0.0.0', logLevel: 'debug' });
  const source = (name: string) => config.settings.find((setting) => setting.name === name)?.source;
  expect([source('SWITCHYARD_PORT'), source('SWITCHYARD_HOST'), source('REDIS_URL')]).toEqual([
    'environment',
    '.env',
    'default',
  ]);
});

test('the queue goes to Redis when there is one, unless Postgres is asked for', () => {
  const env = { REDIS_URL: 'redis://localhost:6379' };
  expect(loadConfig(env, project).queueBackend).toBe('redis');
  expect(loadConfig({ ...env, QUEUE_BACKEND: 'postgres' }, project).queueBackend).toBe('postgres');
});

test('a key chooses its provider, and a chosen model without its key is refused', () => {
  expect(loadConfig({ ANTHROPIC_API_KEY: 'k' }, project).defaultModel.provider).toBe('anthropic');
  expect(loadConfig({ SWITCHYARD_MODEL: 'ollama:llama3.2' }, project).defaultModel.text).toBe('ollama:llama3.2');
  expect(refusal({ SWITCHYARD_MODEL: 'openai:gpt-5.5' }).message).toContain('Set OPENAI_API_KEY');
});

test('the file sets models, prices and channels; the environment still wins', () => {
  writeFileSync(
    path.join(project, 'switchyard.yaml'),
    [
      'channels: { telegram: { enabled: false } }',
      'models:',
      '  default: vllm:mine',
      '  providers:',
      '    vllm: { base_url: "http://gpu:8000/v1", compat: { usageInStream: false } }',
      '  prices:',
      '    "vllm:mine": { input: 0.5, output: 1.25 }',
      'defaults: { agent: coder }',
    ].join('\n'),
  );
  const config = loadConfig({ TELEGRAM_BOT_TOKEN: '1:a' }, project);
  expect(config.defaultModel.text).toBe('vllm:mine');
  expect(config.providers['vllm']).toEqual({ baseUrl: 'http://gpu:8000/v1', compat: { usageInStream: false } });
  expect(config.prices['vllm:mine']).toEqual({ inputMicros: 500_000n, outputMicros: 1_250_000n });
  expect(config.telegram).toBeUndefined();
  expect(config.defaultAgent).toBe('coder');
  const moved = loadConfig({ VLLM_BASE_URL: 'http://other:1/v1', SWITCHYARD_MODEL: 'demo' }, project);
  expect(moved.providers['vllm']?.baseUrl).toBe('http://other:1/v1');
  expect(moved.defaultModel.text).toBe('demo');
});

test('a file that is no YAML is refused with its line and column', () => {
  writeFileSync(path.join(project, 'switchyard.yaml'), 'models:\n  - [1\n');
  expect(refusal({}).message).toMatch(/switchyard\.yaml:\d+:\d+: /);
});

test('a limit out of bounds is brought to the nearest bound and reported', () => {
  const { limits, limitClamps } = loadConfig({ SWITCHYARD_LIMIT_TASK_ROUNDS_MAX: '100000' }, project);
  expect(limits.taskRoundsMax).toBe(500);
  expect(limitClamps).toEqual([{ name: 'taskRoundsMax', asked: 100_000, used: 500 }]);
});

test('an unknown limit is refused', () => {
  expect(refusal({ SWITCHYARD_LIMIT_TASK_ROUND_MAX: '5' }).message).toContain(
    'Did you mean SWITCHYARD_LIMIT_TASK_ROUNDS_MAX?',
  );
});
