import { describe, expect, test } from 'vitest';
import type { ImagePart } from '#core/models/model-port.ts';
import { buildMessages, pictureIds } from '#core/turns/build-context.ts';
import { choosePictures } from '#core/turns/choose-pictures.ts';
import type { TurnEvent } from '#core/turns/turn-event.ts';

const picture = (blobId: string) => ({ blobId, mime: 'image/png' });
const loaded: ImagePart = { type: 'image', mime: 'image/png', dataBase64: 'AAAA', width: 2, height: 1 };

const events: readonly TurnEvent[] = [
  {
    kind: 'user_message',
    sourceTurnId: 't1',
    text: 'What is this?',
    author: 'Ada',
    files: [{ name: 'cat.png', fetchKey: 'k' }],
  },
  {
    kind: 'files_received',
    sourceTurnId: 't1',
    files: [{ name: 'cat.png', path: 'inbox/cat.png', mime: 'image/png', bytes: 10, picture: picture('one') }],
  },
  {
    kind: 'assistant_message',
    parts: [
      {
        type: 'tool_call',
        id: 'c1',
        name: 'view_image',
        rawArguments: '{"path":"a.png"}',
        parsed: { ok: true, arguments: { path: 'a.png' } },
      },
    ],
    model: 'm',
    stop: 'tools',
    usage: {},
    costMicros: '0',
  },
  {
    kind: 'tool_finished',
    callId: 'c1',
    name: 'view_image',
    text: 'a.png: 2 by 1 pixels.',
    isError: false,
    images: [picture('two')],
  },
];

describe('pictures of a conversation', () => {
  test('stand with the message and the result they came with', () => {
    const [user, , tool] = buildMessages(
      events,
      new Map([
        ['one', loaded],
        ['two', loaded],
      ]),
    );
    expect(user?.parts).toEqual([
      { type: 'text', text: 'What is this?\n[attached: inbox/cat.png (image/png, 10 bytes)]' },
      loaded,
    ]);
    expect(tool?.parts).toMatchObject([{ type: 'tool_result', text: 'a.png: 2 by 1 pixels.', images: [loaded] }]);
  });

  test('that are not shown any more leave a line, and how to see them again', () => {
    const [user, , tool] = buildMessages(events);
    expect(user?.parts).toHaveLength(1);
    expect(JSON.stringify(user)).toContain('the picture is not shown here');
    expect(tool?.parts[0]).not.toHaveProperty('images');
    expect(JSON.stringify(tool)).toContain('not shown here; call the tool again');
  });

  test('are named oldest first', () => {
    expect(pictureIds(events)).toEqual(['one', 'two']);
  });
});

describe('which pictures are shown', () => {
  const numbered = (count: number) => Array.from({ length: count }, (_, index) => String(index + 1));

  test('up to eight, and of more the newest, let go four at a time', () => {
    const counts = Array.from({ length: 20 }, (_, index) => choosePictures(numbered(index + 1)).length);
    expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8]);
    expect(choosePictures(numbered(9))).toEqual(['5', '6', '7', '8', '9']);
  });

  test('one that was seen again counts once, as the newer', () => {
    expect(choosePictures(['1', '2', '1'])).toEqual(['2', '1']);
  });
});
