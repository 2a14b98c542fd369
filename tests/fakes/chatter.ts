import { setTimeout as delay } from 'node:timers/promises';

/** How often a share of the events is made. */
const tickMs = 10;

/** Makes `perSecond` events a second for `seconds`, evenly. @returns how many were made. */
export async function chatter(perSecond: number, seconds: number, say: (index: number) => void): Promise<number> {
  const startedAt = performance.now();
  const count = Math.round(perSecond * seconds);
  let made = 0;
  while (made < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedAt) / 1000) * perSecond));
    for (; made < due; made += 1) say(made);
    await delay(tickMs);
  }
  return made;
}
