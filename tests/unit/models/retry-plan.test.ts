import { expect, test } from 'vitest';
import { ModelError, type ModelErrorKind } from '#core/models/model-port.ts';
import { planAfterFailure } from '#workers/models/retry-plan.ts';

const most = () => 0.999;

test.each<[ModelErrorKind, number]>([
  ['transient', 2],
  ['overloaded', 2],
  ['rate', 2],
  ['protocol', 2],
  ['timeout', 1],
  ['auth', 0],
  ['billing', 0],
  ['context', 0],
  ['content', 0],
  ['invalid', 0],
  ['aborted', 0],
])('%s is asked again %i times', (kind, times) => {
  const error = new ModelError(kind, 'x');
  let retries = 0;
  while (planAfterFailure(error, retries + 1, most) !== undefined) retries += 1;
  expect(retries).toBe(times);
});

test('back-off doubles and is jittered over its full width', () => {
  const error = new ModelError('transient', 'x');
  expect(planAfterFailure(error, 1, () => 0)).toBe(0);
  expect(planAfterFailure(error, 1, most)).toBeLessThan(500);
  expect(planAfterFailure(error, 2, most)).toBeGreaterThan(900);
});

test('a wait the server asks for is kept up to 30 s; a longer one gives the model up', () => {
  const plan = (retryAfterMs: number) => planAfterFailure(new ModelError('rate', 'x', { retryAfterMs }), 1, () => 0);
  expect(plan(1000)).toBe(1000);
  expect(plan(30_000)).toBe(30_000);
  expect(plan(100_000)).toBeUndefined();
});
