import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ChatOptions } from '#cli/chat/chat-options.ts';
import { runChat } from '#cli/chat.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { newId } from '#core/kit/ids.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import { type ConsoleStage, openConsoleStage } from '#tests/support/console-stage.ts';
import { openSink } from '#tests/support/fake-terminal.ts';

let stage: ConsoleStage;
let room: string;

beforeAll(async () => {
  stage = await openConsoleStage();
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => {
  room = `room-${newId()}`;
  stage.onEvent = async () => undefined;
  stage.state.turns = [];
});

const say = (parts: OutboundPart[] | string, id = newId()) =>
  stage.channel.send(
    { channel: 'console', account: 'local', room, kind: 'dm' },
    { parts: typeof parts === 'string' ? [{ type: 'markdown', markdown: parts }] : parts },
    id,
  );
const keyOf = (event: InboundEvent) => ({ messageId: event.messageId ?? '' });

async function ask(more: Partial<ChatOptions>): Promise<{ exit: number; out: string; err: string }> {
  const out = openSink();
  const err = openSink();
  const exit = await runChat({
    baseUrl: stage.server.url,
    token: stage.operatorToken,
    room,
    user: 'ada',
    stdin: new PassThrough().end(),
    stdout: out.stream,
    stderr: err.stream,
    signal: AbortSignal.timeout(50_000),
    ...more,
  });
  return { exit, out: out.text(), err: err.text() };
}

const approvalCard = (id: string) =>
  say(
    [
      { type: 'markdown', markdown: 'May I run `rm -rf build`?' },
      {
        type: 'buttons',
        rows: [
          [
            { label: 'Approve', token: `${id}.a`, style: 'success' },
            { label: 'Deny', token: `${id}.d`, style: 'danger' },
            { label: 'Allow for this session', token: `${id}.s` },
          ],
        ],
      },
    ],
    id,
  );

describe('asking once', () => {
  it('prints the answer and nothing else', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await say('Looking around …');
      await say('The answer is **42**.');
      await stage.turn(room, 'done', keyOf(event));
    };
    expect(await ask({ message: 'what is it?' })).toEqual({ exit: 0, out: 'The answer is **42**.\n', err: '' });
  });

  it('reads the question from standard input', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await say(`You said: ${event.type === 'message' ? event.text : ''}`);
      await stage.turn(room, 'done', keyOf(event));
    };
    const stdin = new PassThrough();
    stdin.end('from a\npipe\n');
    expect((await ask({ stdin, agent: 'coder' })).out).toBe('You said: @coder from a\npipe\n\n');
  });

  it('nothing to say and too much to say are told before anything is sent', async () => {
    await expect(ask({})).rejects.toMatchObject({ code: 'command.invalid' });
    await expect(ask({ message: 'x'.repeat(1_000_001) })).rejects.toMatchObject({ code: 'message.too_large' });
  });

  it('a failed turn ends with 1 and its notice on standard error', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await say([{ type: 'notice', level: 'error', markdown: 'The model is away.' }]);
      await stage.turn(room, 'failed', keyOf(event));
    };
    expect(await ask({ message: 'hello' })).toEqual({ exit: 1, out: '', err: 'The model is away.\n' });
  });

  it("another message's turn is not taken for ours", async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'done', { messageId: 'somebody-else', turnId: 't0' });
      await stage.turn(room, 'started', keyOf(event));
      await say('ours');
      await stage.turn(room, 'done', keyOf(event));
    };
    expect((await ask({ message: 'hello' })).out).toBe('ours\n');
  });

  it('a message taken into a running turn waits for that turn', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'absorbed', { ...keyOf(event), turnId: 't2', intoTurnId: 't1' });
      await say('both answered');
      await stage.turn(room, 'done', { messageId: 'the-first', turnId: 't1' });
    };
    expect((await ask({ message: 'and this' })).out).toBe('both answered\n');
  });

  it('a command that needs no turn ends with its reply', async () => {
    stage.onEvent = async () => {
      await say('Nothing is running.');
    };
    expect(await ask({ message: '/status' })).toMatchObject({ exit: 0, out: 'Nothing is running.\n' });
  });

  it('an approval nobody answers ends with 3 and says which', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await approvalCard('card-1');
      await stage.turn(room, 'waiting', { ...keyOf(event), waitingFor: 'approval', approvalId: 'ap-77' });
    };
    const { exit, out, err } = await ask({ message: 'clean up' });
    expect({ exit, out }).toEqual({ exit: 3, out: '' });
    expect(err).toContain('rm -rf build');
    expect(err).toContain('ap-77');
  });

  it.each([
    ['approve', 'card-2.a', 'Cleaned.'],
    ['deny', 'card-2.d', 'Left alone.'],
  ] as const)('with --%s the button is pressed and the answer awaited', async (answer, token, text) => {
    stage.onEvent = async (event) => {
      if (event.type === 'action') {
        expect(event).toMatchObject({ token, messageId: 'card-2' });
        await say(text);
        await stage.turn(room, 'done', { messageId: asked });
        return;
      }
      asked = event.messageId ?? '';
      await stage.turn(room, 'started', keyOf(event));
      await approvalCard('card-2');
      await stage.turn(room, 'waiting', { ...keyOf(event), waitingFor: 'approval' });
    };
    let asked = '';
    expect(await ask({ message: 'clean up', answer })).toMatchObject({ exit: 0, out: `${text}\n` });
  });

  it('with --json every event is a line and the last one is the end', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await stage.channel.draft({ channel: 'console', account: 'local', room, kind: 'dm' }, 5, 'half');
      await say('whole');
      await stage.turn(room, 'done', keyOf(event));
    };
    const { out } = await ask({ message: 'hello', isJson: true });
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    const types = lines.map(({ type }) => type);
    expect([types.at(0), types.at(-2), types.at(-1)]).toEqual(['ready', 'turn', 'end']);
    expect(types.toSorted()).toEqual(['draft', 'end', 'message', 'message', 'ready', 'turn', 'turn']);
    expect(lines.at(-1)).toEqual({ type: 'end', exitCode: 0 });
  });

  it('escape sequences in an answer never reach the terminal', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      await say('safe\u001b[2J\u001b]0;title\u0007 \u009b31mtext\u202e');
      await stage.turn(room, 'done', keyOf(event));
    };
    const { out } = await ask({ message: 'hello' });
    expect(out).toBe('safe text\ufffd\n');
  });

  it('a gateway that restarts in the middle loses nothing', async () => {
    stage.onEvent = async (event) => {
      await stage.turn(room, 'started', keyOf(event));
      // Nobody hears how the turn ends; it is read from the turn's row.
      stage.state.turns = [{ kind: 'turn', sessionId: 's1', turnId: 't1', state: 'done', ...keyOf(event) }];
      await say('after the restart');
      await stage.restart();
    };
    const { exit, out, err } = await ask({ message: 'hello' });
    expect({ exit, out }).toEqual({ exit: 0, out: 'after the restart\n' });
    expect(err).toContain('Trying again');
  });

  it('a message behind an approval that nobody answers ends with 3 instead of waiting', async () => {
    stage.state.turns = [
      {
        kind: 'turn',
        sessionId: 's1',
        turnId: 't0',
        state: 'waiting',
        waitingFor: 'approval',
        approvalId: 'ap-old',
        messageId: 'earlier',
      },
    ];
    const { exit, err } = await ask({ message: 'next thing', answer: 'approve' });
    expect(exit).toBe(3);
    expect(err).toContain('ap-old');
    expect(stage.received.some(({ raw }) => Object(raw).kind === 'action' && Object(raw).room === room)).toBe(false);
  });

  it('a room named after any user name is accepted', async () => {
    room = `DOMAIN_ada_lovelace_${newId()}`;
    stage.onEvent = async () => {
      await say('welcome');
    };
    expect((await ask({ message: '/help', room: room.replace('_', '\\').replace('_', ' ') })).out).toBe('welcome\n');
  });

  it('a wrong token and a gateway that is away are told with the mend', async () => {
    await expect(ask({ message: 'x', token: 'wrong' })).rejects.toMatchObject({ code: 'request.unauthenticated' });
    await expect(ask({ message: 'x', baseUrl: 'http://127.0.0.1:1' })).rejects.toMatchObject({
      code: 'channel.unavailable',
      mend: expect.stringContaining('switchyard up'),
    });
  });
});
