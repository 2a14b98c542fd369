import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { type Painter, PreviewPump } from '#workers/delivery/preview-pump.ts';

function painter(isFirst: boolean, paint: () => Promise<void>): Painter {
  return { isFirst, paint };
}

test('what is asked for while it waits is painted once', async () => {
  const pump = new PreviewPump();
  let painted = 0;
  const one = painter(false, async () => {
    painted += 1;
  });
  for (let index = 0; index < 50; index += 1) pump.ask(one, 30);
  await eventually(() => expect(painted).toBe(1));
  pump.ask(one, 5);
  pump.forget(one);
  await new Promise((resolve) => setTimeout(resolve, 40));
  expect(painted).toBe(1);
});

test('a thousand previews keep to the bound, and those nobody has seen yet go first', async () => {
  const pump = new PreviewPump();
  const order: boolean[] = [];
  const startedAt = performance.now();
  for (let index = 0; index < 1000; index += 1) {
    const isFirst = index >= 950;
    pump.ask(
      painter(isFirst, async () => {
        order.push(isFirst);
      }),
      0,
    );
  }
  await eventually(() => expect(order.filter((isFirst) => isFirst)).toHaveLength(50));
  expect(order.lastIndexOf(true)).toBe(49);
  await eventually(() => expect(order).toHaveLength(1000), { interval: 20 });
  expect(performance.now() - startedAt).toBeGreaterThan(1500);
});

test('a platform that hangs holds up only so many calls, and none of the others for ever', async () => {
  const pump = new PreviewPump();
  const hang = Promise.withResolvers<void>();
  let begun = 0;
  for (let index = 0; index < 100; index += 1) {
    pump.ask(
      painter(false, async () => {
        begun += 1;
        await hang.promise;
      }),
      0,
    );
  }
  await eventually(() => expect(begun).toBeGreaterThanOrEqual(40));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(begun).toBeLessThan(60);
  hang.resolve();
  await eventually(() => expect(begun).toBe(100));
});
