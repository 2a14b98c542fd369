import { mkdtemp, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runChat } from '#cli/chat.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { newId } from '#core/kit/ids.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { type ConsoleStage, openConsoleStage } from '#tests/support/console-stage.ts';
import { type FakeTerminal, openFakeTerminal } from '#tests/support/fake-terminal.ts';

let stage: ConsoleStage;
let conversation: Conversation;
let heard: InboundEvent[];
let chats: { stop: AbortController; ended: Promise<number> }[];

beforeAll(async () => {
  stage = await openConsoleStage();
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => {
  conversation = { channel: 'console', account: 'local', room: `room-${newId()}`, kind: 'dm' };
  heard = [];
  chats = [];
  stage.onEvent = async (event) => void heard.push(event);
});
afterEach(async () => {
  for (const { stop } of chats) stop.abort();
  await Promise.all(chats.map(({ ended }) => ended));
});

const body = (parts: OutboundPart[] | string): OutboundBody => ({
  parts: typeof parts === 'string' ? [{ type: 'markdown', markdown: parts }] : parts,
});
const say = (parts: OutboundPart[] | string, id = newId()) => stage.channel.send(conversation, body(parts), id);
const turn = (state: string) => stage.turn(conversation.room, state);
const heardTexts = () => heard.map((event) => (event.type === 'message' ? event.text : event.type));
const buttons = (): OutboundPart => ({
  type: 'buttons',
  rows: [
    [
      { label: 'Approve', token: 'token.a' },
      { label: 'Deny', token: 'token.d' },
      { label: 'Allow for this session', token: 'token.s' },
    ],
  ],
});

async function open(
  options: { columns?: number; historyFile?: string; prompt?: RegExp } = {},
): Promise<FakeTerminal & { ended: Promise<number> }> {
  const terminal = openFakeTerminal(options.columns ?? 80, 24);
  const stop = new AbortController();
  const ended = runChat({
    baseUrl: stage.server.url,
    token: stage.operatorToken,
    room: conversation.room,
    user: 'ada',
    historyFile: options.historyFile,
    stdin: terminal.stdin,
    stdout: terminal.stdout,
    stderr: new PassThrough(),
    signal: stop.signal,
  });
  chats.push({ stop, ended });
  await expect.poll(() => terminal.text()).toMatch(options.prompt ?? /ada ›$/);
  return Object.assign(terminal, { ended });
}
const shows = (terminal: FakeTerminal, text: string | RegExp) =>
  typeof text === 'string'
    ? expect.poll(() => terminal.text()).toContain(text)
    : expect.poll(() => terminal.text()).toMatch(text);
const count = (terminal: FakeTerminal, text: string) => terminal.text().split(text).length - 1;

describe('a dialogue in the terminal', () => {
  it('a draft grows in place and the answer takes its place', async () => {
    const terminal = await open();
    terminal.type('hello\r');
    await expect.poll(heardTexts).toEqual(['hello']);
    await turn('started');
    await shows(terminal, 'working …');
    await stage.channel.draft(conversation, 3, 'The ans');
    await shows(terminal, 'The ans');
    await stage.channel.draft(conversation, 3, 'The answer is');
    await shows(terminal, 'The answer is');
    expect(count(terminal, 'The ans')).toBe(1);
    await stage.channel.send(conversation, { ...body('The answer is **42**.'), draftId: 3 }, newId());
    await turn('done');
    await shows(terminal, /The answer is 42\.\n\nada ›$/);
    expect(count(terminal, 'The ans')).toBe(1);
    expect(terminal.text()).not.toContain('working');
    expect(count(terminal, 'hello')).toBe(1);
  });

  it('what is being written survives what arrives meanwhile, over several rows too', async () => {
    const terminal = await open({ columns: 30 });
    const line = 'this line is much longer than one row of the terminal';
    terminal.type(line);
    await say('first');
    await shows(terminal, 'first');
    await say('second');
    await shows(terminal, 'second');
    // The line is drawn again after what stands above it.
    await expect.poll(() => terminal.text().split('\n').slice(-3).join('')).toContain(line);
    expect(count(terminal, 'this line')).toBe(1);
    terminal.type('\r');
    await expect.poll(heardTexts).toEqual([line]);
  });

  it('an edited message changes in place while its turn runs and is printed once', async () => {
    const terminal = await open();
    await turn('started');
    const ref = await say('step 1 of 3');
    await shows(terminal, 'step 1 of 3');
    await stage.channel.edit(conversation, ref, body('step 2 of 3'), newId());
    await stage.channel.edit(conversation, ref, body('step 3 of 3'), newId());
    await turn('done');
    await shows(terminal, /step 3 of 3\n\nada ›$/);
    expect(count(terminal, 'of 3')).toBe(1);
  });

  it('a single key answers an approval', async () => {
    const terminal = await open({ columns: 30 });
    await turn('started');
    await shows(terminal, 'working …');
    const ref = await say([{ type: 'markdown', markdown: 'May I run `ls`?' }, buttons()]);
    await turn('waiting');
    await expect.poll(() => terminal.text().replaceAll('\n', '')).toMatch(/\[a\/d\/s\] answers, \[Tab\] to write ›$/);
    expect(count(terminal, 'working')).toBe(1);
    terminal.type('x');
    terminal.type('a');
    await expect.poll(() => heard).toMatchObject([{ type: 'action', token: 'token.a' }]);
    await stage.channel.edit(conversation, ref, body('Approved by ada.'), newId());
    await shows(terminal, 'Approved by ada.');
    await shows(terminal, /ada ›$/);
    await turn('done');
    await expect.poll(() => count(terminal, 'working')).toBe(0);
    expect(count(terminal, 'answers')).toBe(0);
  });

  it('the card of what was just asked for can be answered at once', async () => {
    const terminal = await open();
    stage.onEvent = async (event) => {
      heard.push(event);
      if (event.type === 'message') await say([{ type: 'markdown', markdown: 'May I?' }, buttons()]);
    };
    terminal.type('do it\r');
    await shows(terminal, /write ›$/);
    expect(count(terminal, 'do it')).toBe(1);
    terminal.type('a');
    await expect.poll(() => heard.at(-1)).toMatchObject({ type: 'action', token: 'token.a' });
  });

  it('a request that was open before the chat is offered, and two are answered one by one', async () => {
    await say([{ type: 'markdown', markdown: 'First?' }, buttons()], 'card-1');
    await say([{ type: 'markdown', markdown: 'Second?' }, buttons()], 'card-2');
    const terminal = await open({ prompt: /to write ›$/ });
    terminal.type('a');
    terminal.type('a');
    await shows(terminal, 'press Tab to answer');
    await expect.poll(() => heard).toMatchObject([{ type: 'action', messageId: 'card-1' }]);
    terminal.type('\u007f');
    terminal.type('\t');
    await shows(terminal, /to write ›$/);
    terminal.type('d');
    await expect.poll(() => heard.at(-1)).toMatchObject({ token: 'token.d', messageId: 'card-2' });
  });

  it('a refused answer is told and the card can be answered again', async () => {
    const terminal = await open();
    await say([{ type: 'markdown', markdown: 'May I?' }, buttons()]);
    await shows(terminal, 'to write ›');
    terminal.type('d');
    await expect.poll(() => heard.length).toBe(1);
    const action = heard[0];
    if (action?.type !== 'action') throw new Error('a button was pressed');
    await stage.channel.acknowledge(action.interactionToken, { text: 'You may not decide this.', isAlert: true });
    await shows(terminal, 'You may not decide this.');
    await shows(terminal, /write ›$/);
  });

  it('an approval that appears while someone writes is not answered by their letters', async () => {
    const terminal = await open();
    terminal.type('a');
    await shows(terminal, /› a$/);
    await say([{ type: 'markdown', markdown: 'May I?' }, buttons()]);
    await shows(terminal, 'then press Tab to answer');
    terminal.type('dd this file\r');
    await expect.poll(heardTexts).toEqual(['add this file']);
    terminal.type('\t');
    await shows(terminal, /write ›$/);
    terminal.type('d');
    await expect.poll(() => heard.at(-1)).toMatchObject({ type: 'action', token: 'token.d' });
  });

  it('Ctrl-C stops a running turn, and twice leaves', async () => {
    const terminal = await open();
    await turn('started');
    await shows(terminal, 'working …');
    terminal.type('\u0003');
    await expect.poll(() => heard).toMatchObject([{ type: 'command', name: 'stop' }]);
    await shows(terminal, 'Stopping …');
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(0);
    expect(terminal.isRawMode).toBe(false);
    await expect.poll(() => terminal.raw().endsWith('\u001b[?2004l')).toBe(true);
  });

  it('Ctrl-D on an empty line leaves, even while something is being written above it', async () => {
    const terminal = await open();
    await turn('started');
    await stage.channel.draft(conversation, 9, 'half an answer');
    await shows(terminal, 'half an answer');
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
    expect(terminal.isRawMode).toBe(false);
    await expect.poll(() => terminal.text()).not.toContain('half an answer');
  });

  it('a pasted text of several lines is one message', async () => {
    const terminal = await open();
    terminal.type('\u001b[200~one\ntwo\r\nthree\n\u001b[201~');
    await shows(terminal, 'one⏎two⏎three');
    terminal.type('\r');
    await expect.poll(heardTexts).toEqual(['one\ntwo\nthree']);
  });

  it('earlier messages are shown at the start, and what others say in the room', async () => {
    await say('from before');
    const terminal = await open();
    await shows(terminal, 'from before');
    await stage.request('/api/console/messages', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key: newId(), room: conversation.room, user: 'grace', text: 'hi all' }),
    });
    await shows(terminal, 'grace › hi all');
  });

  it('the history of lines is kept for the next chat, readable only by its owner', async () => {
    const historyFile = path.join(await mkdtemp(path.join(tmpdir(), 'chat-')), 'history');
    const first = await open({ historyFile });
    first.type('remember me\r');
    await expect.poll(heardTexts).toEqual(['remember me']);
    first.type('/quit\r');
    await first.ended;
    expect(await readFile(historyFile, 'utf8')).toContain('remember me');
    expect((await stat(historyFile)).mode & 0o777).toBe(0o600);
    const second = await open({ historyFile });
    second.type('\u001b[A\u001b[A');
    await shows(second, /› remember me$/);
  });

  it('a file is saved on demand, by its last name only and never over another', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'chat-'));
    const target = path.join(folder, 'kept.txt');
    await writeFile(target, 'mine');
    const terminal = await open();
    await say([
      {
        type: 'file',
        name: '../../evil.txt',
        mime: 'text/plain',
        dataBase64: Buffer.from('theirs').toString('base64'),
      },
    ]);
    await shows(terminal, '/save 1');
    terminal.type(`/save 1 ${target}\r`);
    await shows(terminal, 'give another name');
    terminal.type(`/save 1 ${path.join(folder, 'new.txt')}\r`);
    await shows(terminal, 'Saved as');
    expect(await readFile(target, 'utf8')).toBe('mine');
    expect(await readFile(path.join(folder, 'new.txt'), 'utf8')).toBe('theirs');
  });

  it('a gateway that restarts is said and the conversation goes on', async () => {
    const terminal = await open();
    await stage.restart();
    await shows(terminal, 'Trying again');
    await shows(terminal, 'Connected again.');
    await say('still here');
    await shows(terminal, 'still here');
    terminal.type('me too\r');
    await expect.poll(heardTexts).toEqual(['me too']);
  });

  it('hostile text cannot touch the screen', async () => {
    const terminal = await open();
    await say([
      { type: 'markdown', markdown: 'a\u001b[2Jb\u001b[1;1Hc\u0007\u009b2Jd' },
      { type: 'fields', fields: [['na\u001b[31mme', 'va\rlue']] },
      { type: 'buttons', rows: [[{ label: 'Go\u001b[5m', url: 'https://x\u001b[0m' }]] },
    ]);
    await shows(terminal, 'abcd');
    expect(terminal.raw()).not.toMatch(/\u001b\[2J|\u001b\[5m|\u009b/);
  });
});
