import { beforeAll, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { type ComposeFile, readCompose } from '#tests/support/compose.ts';

let file: ComposeFile | undefined;
let complaint = '';

beforeAll(() => {
  ({ file, complaint } = readCompose({ POSTGRES_PASSWORD: 'secret' }));
});

test('the compose file is valid, and refuses to start without a database password', () => {
  expect(readCompose({}).complaint).toContain('set it in .env');
  expect(complaint).toBe('');
  expect(Object.keys(file?.services ?? {}).sort()).toEqual([
    'docker-proxy',
    'gateway',
    'postgres',
    'prepare',
    'redis',
    'worker',
  ]);
});

test('only the gateway is published, and only on this machine', () => {
  const published = Object.entries(file?.services ?? {}).filter(([, service]) => service.ports !== undefined);
  expect(published.map(([name]) => name)).toEqual(['gateway']);
  expect(JSON.stringify(published)).toContain('127.0.0.1');
});

test('only the proxy touches the Docker socket', () => {
  const holders = Object.entries(file?.services ?? {}).filter(([, service]) =>
    JSON.stringify(service.volumes ?? []).includes('docker.sock'),
  );
  expect(holders.map(([name]) => name)).toEqual(['docker-proxy']);
});

test('what it passes to our processes is a valid configuration, with and without optional settings', () => {
  const keys = { POSTGRES_PASSWORD: 'secret', OPENAI_API_KEY: 'key', TELEGRAM_BOT_TOKEN: '1:a' };
  for (const given of [file, readCompose(keys).file]) {
    for (const name of ['gateway', 'worker']) {
      const settings = Object.fromEntries(
        Object.entries(given?.services[name]?.environment ?? {}).map(([key, value]) => [key, String(value ?? '')]),
      );
      expect(loadConfig(settings, '/nowhere')).toMatchObject({
        queueBackend: 'redis',
        databaseUrl: 'postgres://switchyard:secret@postgres:5432/switchyard',
      });
    }
  }
});
