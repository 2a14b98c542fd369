import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { createLoopFuse } from '#core/inbox/loop-fuse.ts';

// What is not collected yet would be counted as kept.
setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

const said = (author: string, text: string): InboundEvent => ({
  type: 'message',
  conversation: { channel: 'slack', account: 'T', room: 'C', kind: 'channel' },
  actor: { externalId: author, displayName: author, isBot: false, isAnonymous: false },
  occurredAt: new Date(0),
  messageId: 'm',
  text,
  addressed: 'mention',
  files: [],
});

test('what many say once is no loop, what one says again and again is', () => {
  const fuse = createLoopFuse(() => 0);
  for (let author = 0; author < 50; author += 1) expect(fuse.count(said(`U${author}`, 'status'))).toBeUndefined();
  for (let times = 0; times < 9; times += 1) expect(fuse.count(said('U1', 'status'))).toBeUndefined();
  expect(fuse.count(said('U1', 'status'))).toContain('the same text 11 times');
});

test('a flood of different texts does not fill the memory', () => {
  const fuse = createLoopFuse(() => 0);
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let text = 0; text < 200_000; text += 1) fuse.count(said('U1', `text ${text}`));
  collectGarbage();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(30 * 1024 * 1024);
});
