import { expect, test } from 'vitest';
import { limitedLookup } from '#workers/egress/limited-lookup.ts';

const ask = async (name: string): Promise<string> =>
  await new Promise((resolve) =>
    limitedLookup(name, { all: true }, (err, addresses) =>
      resolve(err === null ? JSON.stringify(addresses) : (err.code ?? '')),
    ),
  );

test('many names at once are all answered, and too many are refused instead of kept', async () => {
  const some = await Promise.all(Array.from({ length: 50 }, async () => await ask('localhost')));
  expect(new Set(some).size).toBe(1);
  expect(some[0]).toMatch(/127\.0\.0\.1|::1/);
  const flood = await Promise.all(Array.from({ length: 400 }, async () => await ask('localhost')));
  const refused = flood.filter((answer) => answer === 'EAI_AGAIN').length;
  expect([refused > 0, refused < 200]).toEqual([true, true]);
  expect(await ask('localhost')).toBe(some[0]);
});
