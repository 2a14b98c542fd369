import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ThreadLines, type Waiting } from '#bots/thread-lines.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { InboxRow } from '#core/inbox/inbox-store.ts';

const row = (id: number): InboxRow => ({
  id: String(id),
  channel: 'telegram',
  account: '1',
  dedupKey: String(id),
  raw: {},
  attempts: 0,
});

const piece = (albumId?: string): InboundEvent => ({
  type: 'message',
  conversation: { channel: 'telegram', account: '1', room: '-5', kind: 'group' },
  actor: { externalId: '7', displayName: 'Mallory', isBot: false, isAnonymous: false },
  occurredAt: new Date(0),
  messageId: 'm',
  text: 'x',
  addressed: 'mention',
  files: [],
  ...(albumId === undefined ? {} : { albumId }),
});

/**
 * Adds pieces of one album for `forMs` at least and until the one message of somebody else behind it has been settled, 30 s
 * at most; says what was settled by then.
 */
async function drip(everyMs: number, forMs: number): Promise<readonly Waiting[]> {
  const settled: Waiting[] = [];
  const stop = new AbortController();
  const lines = new ThreadLines({
    settle: async (item) => {
      settled.push(item);
      await Promise.resolve();
    },
    signal: stop.signal,
  });
  lines.add(row(1), piece('endless'));
  lines.add(row(2), piece());
  const startedAt = performance.now();
  const isEnough = () => {
    const tookMs = performance.now() - startedAt;
    return tookMs >= 30_000 || (tookMs >= forMs && settled.some(({ albumId }) => albumId === undefined));
  };
  for (let id = 3; !isEnough(); id += 1) {
    await delay(everyMs);
    lines.add(row(id), piece('endless'));
  }
  stop.abort();
  await lines.idle();
  return settled;
}

test.concurrent('an album of thousands of pieces neither holds up its thread nor grows without end', async () => {
  const settled = await drip(5, 2_500);
  expect(settled.some(({ albumId }) => albumId === undefined)).toBe(true);
  expect(Math.max(...settled.map(({ rows }) => rows.length))).toBeLessThanOrEqual(100);
});

test.concurrent('an album to which somebody adds for ever holds up its thread for ten seconds at most', async () => {
  const settled = await drip(500, 11_500);
  expect(settled.some(({ albumId }) => albumId === undefined)).toBe(true);
});
