import { setTimeout as delay } from 'node:timers/promises';

const dayMs = 86_400_000;

/** Lets midnight UTC pass when it is within half a minute: a daily budget would begin anew in the middle of the test. */
export async function awayFromMidnight(): Promise<void> {
  const leftMs = dayMs - (Date.now() % dayMs);
  if (leftMs < 30_000) await delay(leftMs + 1000);
}
