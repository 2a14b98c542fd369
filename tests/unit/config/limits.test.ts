import { expect, test } from 'vitest';
import { limitNames, limitRow, limitVariable, resolveLimits } from '#core/kit/limits.ts';

test('every default lies within its bounds', () => {
  for (const name of limitNames()) {
    const { default: value, low, high } = limitRow(name);
    expect({ name, ok: low <= value && value <= high }).toEqual({ name, ok: true });
  }
});

test('every limit has a variable of its own', () => {
  const variables = limitNames().map(limitVariable);
  expect(new Set(variables).size).toBe(variables.length);
  expect(limitVariable('taskRoundsMax')).toBe('SWITCHYARD_LIMIT_TASK_ROUNDS_MAX');
});

test('without overrides every limit has its default and nothing is clamped', () => {
  const { limits, clamps } = resolveLimits({});
  expect(clamps).toEqual([]);
  for (const name of limitNames()) expect(limits[name]).toBe(limitRow(name).default);
});
