import { describe, expect, it } from 'vitest';
import { ArrivalOrder } from '#bots/arrival-order.ts';
import { albumIdOf, mergeAlbum } from '#bots/merge-album.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';

const base = {
  conversation: { channel: 'telegram', account: '1', room: '5', kind: 'group' as const },
  actor: { externalId: '5', displayName: 'Ada', isBot: false, isAnonymous: false },
  occurredAt: new Date(0),
  albumId: 'a',
};
const piece = (name: string, more: object = {}): InboundEvent => ({
  ...base,
  type: 'message',
  text: '',
  addressed: 'none',
  files: [{ name, fetchKey: name }],
  ...more,
});

describe('an album', () => {
  it('is one message with the files of all pieces and what the caption says', () => {
    const [event, ...rest] = mergeAlbum([
      piece('a'),
      piece('b', { text: 'look', addressed: 'mention', messageId: '2' }),
      piece('c'),
    ]);
    expect(rest).toEqual([]);
    expect(event).toMatchObject({
      type: 'message',
      text: 'look',
      addressed: 'mention',
      messageId: '2',
      files: [{ name: 'a' }, { name: 'b' }, { name: 'c' }],
    });
  });

  it('with a command as its caption is that command with all files', () => {
    const command: InboundEvent = {
      ...base,
      type: 'command',
      name: 'run',
      args: 'sort',
      files: [{ name: 'a', fetchKey: 'a' }],
    };
    expect(mergeAlbum([command, piece('b')])).toMatchObject([
      { type: 'command', name: 'run', args: 'sort', files: [{ name: 'a' }, { name: 'b' }] },
    ]);
  });

  it('is put in the order the platform counted, whatever came first', () => {
    const [event] = mergeAlbum([piece('b', { sequence: 2 }), piece('a', { sequence: 1 })]);
    expect(event).toMatchObject({ files: [{ name: 'a' }, { name: 'b' }] });
  });

  it('of one piece, and everything that is no album, stays as it is', () => {
    const alone = [piece('a')];
    expect(mergeAlbum(alone)).toEqual(alone);
    expect(albumIdOf({ ...base, type: 'delete' })).toBeUndefined();
    expect(mergeAlbum([])).toEqual([]);
  });
});

describe('the order of arrival', () => {
  it('holds nothing up while the count has no gap', () => {
    const order = new ArrivalOrder();
    order.readyAt(10, 0);
    expect([order.readyAt(11, 1_000), order.readyAt(12, 1_001)]).toEqual([1_000, 1_001]);
  });

  it('waits a moment at a gap, with everything behind it, and never for what comes late', () => {
    const order = new ArrivalOrder();
    order.readyAt(10, 0);
    const held = order.readyAt(12, 1_000);
    expect(held).toBeGreaterThan(1_000);
    expect(order.readyAt(13, 1_001)).toBe(held);
    expect(order.readyAt(11, 1_002)).toBe(1_002);
    expect(order.readyAt(14, held + 1)).toBe(held + 1);
  });
});
