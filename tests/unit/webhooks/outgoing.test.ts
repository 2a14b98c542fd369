import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { parseDuration } from '#core/kit/duration.ts';
import { idFrom } from '#core/kit/ids.ts';
import { utcTime } from '#core/kit/utc-time.ts';
import { attemptsMax, endpointId, retryPauseMs } from '#core/webhooks/webhook.ts';
import { signBody } from '#workers/outgoing/sign-body.ts';

test('the signature covers time and body', () => {
  const expected = createHmac('sha256', 'secret').update('1700000000.{"a":1}').digest('hex');
  expect(signBody('secret', 1_700_000_000, '{"a":1}')).toBe(`v1=${expected}`);
  expect(signBody('secret', 1_700_000_001, '{"a":1}')).not.toBe(`v1=${expected}`);
});

test('pauses grow up to two hours, and all tries together last some hours', () => {
  const pauses = Array.from({ length: attemptsMax - 1 }, (_, index) => retryPauseMs(index + 1));
  expect(pauses.slice(0, 3)).toEqual([10_000, 30_000, 90_000]);
  expect(Math.max(...pauses)).toBe(7_200_000);
  const hours = pauses.reduce((sum, pause) => sum + pause, 0) / 3_600_000;
  expect(hours).toBeGreaterThan(3);
  expect(hours).toBeLessThan(6);
});

test('an endpoint’s id tells nothing of its address', () => {
  expect(endpointId('https://hooks.example.org/T0/secret')).toMatch(/^[0-9a-f]{16}$/);
});

test('a span is a number and a unit', () => {
  expect(['30s', '10m', '2h', '1d', ' 5 m '].map(parseDuration)).toEqual([
    30_000, 600_000, 7_200_000, 86_400_000, 300_000,
  ]);
  expect(['', '10', 'm', '-1m', '1w', '1.5h', 'off'].map(parseDuration)).toEqual(
    Array.from({ length: 7 }, () => undefined),
  );
});

test('an id made from a text is a UUID and always the same', () => {
  expect(idFrom('a')).toBe(idFrom('a'));
  expect(idFrom('a')).not.toBe(idFrom('b'));
  expect(idFrom('a')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('a time has its date only on another day', () => {
  const asked = new Date('2026-11-21T23:50:00Z');
  expect(utcTime(new Date('2026-11-21T23:59:00Z'), asked)).toBe('23:59 UTC');
  expect(utcTime(new Date('2026-11-22T00:20:00Z'), asked)).toBe('2026-11-22 00:20 UTC');
  expect(utcTime(asked)).toBe('23:50 UTC');
});
