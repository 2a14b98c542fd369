import { describe, expect, it } from 'vitest';
import { normaliseConsole } from '#bots/console/console-raw.ts';
import { readInteraction } from '#bots/hosted/hosted-channel.ts';

const raw = (more: object) => ({
  kind: 'message',
  key: '12345678',
  room: 'ada',
  user: 'ada',
  text: 'hello',
  at: '2026-11-21T12:00:00.000Z',
  ...more,
});

describe('a console event', () => {
  it('is what was said, by the operator, in their room', () => {
    expect(normaliseConsole(raw({ thread: 'plans' }))).toEqual([
      {
        type: 'message',
        conversation: { channel: 'console', account: 'local', room: 'ada', thread: 'plans', kind: 'dm' },
        actor: {
          externalId: 'operator:ada',
          displayName: 'ada',
          isBot: false,
          isAnonymous: false,
          isOperator: true,
        },
        occurredAt: new Date('2026-11-21T12:00:00.000Z'),
        messageId: '12345678',
        text: 'hello',
        addressed: 'dm',
        files: [],
      },
    ]);
  });

  it.each([
    ['/Status', { type: 'command', name: 'status', args: '' }],
    ['/run ls -la\nand more ', { type: 'command', name: 'run', args: 'ls -la\nand more' }],
    ['/etc/hosts is odd', { type: 'message', text: '/etc/hosts is odd' }],
    ['/', { type: 'message' }],
    ['/2', { type: 'message' }],
  ])('"%s" is read as command or text', (text, expected) => {
    expect(normaliseConsole(raw({ text }))).toMatchObject([expected]);
  });

  it('a button press says where its answer goes', () => {
    const [event] = normaliseConsole(raw({ kind: 'action', token: 'tok', messageId: 'm1' }));
    if (event?.type !== 'action') throw new Error('an action was expected');
    expect(event).toMatchObject({ token: 'tok', messageId: 'm1' });
    expect(readInteraction(event.interactionToken)).toEqual({ room: 'ada', key: '12345678' });
    expect(readInteraction('{')).toBeUndefined();
    expect(readInteraction('[]')).toBeUndefined();
  });

  it.each([
    [{ room: '../x' }],
    [{ room: 'a:b' }],
    [{ room: '' }],
    [{ kind: 'nonsense' }],
    [{ key: 'short' }],
    [{ text: 7 }],
    [{ at: 'yesterday' }],
  ])('%j is nothing', (more) => {
    expect(normaliseConsole(raw(more))).toEqual([]);
  });
});
