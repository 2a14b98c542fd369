import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { FakeTelegram } from '../../fakes/telegram/fake-telegram.ts';

const answerSchema = z.looseObject({
  ok: z.boolean(),
  error_code: z.number().optional(),
  description: z.string().optional(),
  result: z.unknown().optional(),
});

async function post(address: string, params: object) {
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(params),
  });
  return response.json();
}

describe('the fake Telegram is as strict as the real one', () => {
  let fake: FakeTelegram;
  const call = async (method: string, params: object = {}, token = fake.token) =>
    answerSchema.parse(await post(`${fake.apiRoot}/bot${token}/${method}`, params));
  const updateIds = async (params: object) => {
    const { result } = await call('getUpdates', params);
    return z
      .array(z.looseObject({ update_id: z.number() }))
      .parse(result)
      .map((update) => update.update_id);
  };

  beforeEach(async () => {
    fake = await FakeTelegram.start();
    fake.people.privateChat(5);
    fake.people.group(-100);
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });

  it.each([
    ['empty text', { text: ' \n ' }, /text is empty/],
    ['long text', { text: 'x'.repeat(4_097) }, /too long/],
    ['a lone surrogate', { text: 'a\ud800' }, /UTF-8/],
    ['an entity beyond the text', { text: 'ab', entities: [{ type: 'bold', offset: 1, length: 2 }] }, /ENTITY_BOUNDS/],
    [
      'an entity inside a surrogate pair',
      { text: '👍', entities: [{ type: 'bold', offset: 0, length: 1 }] },
      /ENTITY_BOUNDS/,
    ],
    ['an empty entity', { text: 'ab', entities: [{ type: 'bold', offset: 0, length: 0 }] }, /ENTITY_BOUNDS/],
    [
      'bold code',
      { text: 'ab', entities: ['bold', 'code'].map((type) => ({ type, offset: 0, length: 2 })) },
      /parse entities/,
    ],
    [
      'long button data',
      { text: 'x', reply_markup: { inline_keyboard: [[{ text: 'a', callback_data: 'é'.repeat(33) }]] } },
      /BUTTON_DATA/,
    ],
    ['a button without a purpose', { text: 'x', reply_markup: { inline_keyboard: [[{ text: 'a' }]] } }, /Text buttons/],
    ['a missing topic', { text: 'x', message_thread_id: 7 }, /thread not found/],
    ['a missing reply', { text: 'x', reply_parameters: { message_id: 7 } }, /replied not found/],
  ])('%s is refused', async (_name, params, description) => {
    const answer = await call('sendMessage', { chat_id: 5, ...params });
    expect(answer).toMatchObject({ ok: false, error_code: 400 });
    expect(answer.description).toMatch(description);
    expect(fake.transcript(5)).toEqual([]);
  });

  it('wrong tokens, chats, methods and drafts in groups are refused', async () => {
    expect(await call('getMe', {}, '1:wrong')).toMatchObject({ error_code: 401 });
    expect(await call('noSuchMethod')).toMatchObject({ error_code: 404 });
    expect((await call('sendMessage', { chat_id: 99, text: 'x' })).description).toMatch(/chat not found/);
    expect((await call('sendMessageDraft', { chat_id: -100, draft_id: 1, text: 'x' })).description).toMatch(
      /PEER_INVALID/,
    );
  });

  it('edits of nothing, of others and without a change are refused', async () => {
    const theirs = fake.people.says(5, 5, 'mine');
    await call('sendMessage', { chat_id: 5, text: 'ours' });
    const edit = async (message_id: number, text: string) =>
      (await call('editMessageText', { chat_id: 5, message_id, text })).description;
    expect(await edit(99, 'x')).toMatch(/to edit not found/);
    expect(await edit(theirs, 'x')).toMatch(/can't be edited/);
    expect(await edit(theirs + 1, 'ours')).toMatch(/not modified/);
    expect(await edit(theirs + 1, 'new')).toBeUndefined();
    expect(fake.said(5)).toMatchObject([{ text: 'new', edits: 1 }]);
  });

  it('the offset confirms what is below it and everything else comes again', async () => {
    for (const text of ['a', 'b', 'c']) fake.people.says(5, 5, text);
    const [first = 0] = await updateIds({ limit: 2 });
    expect(await updateIds({})).toEqual([first, first + 1, first + 2]);
    expect(await updateIds({ offset: first + 2 })).toEqual([first + 2]);
    expect(await updateIds({})).toEqual([first + 2]);
  });

  it('a held poll is answered by the next update, and ended by a second poller', async () => {
    const held = call('getUpdates', { timeout: 30 });
    await fake.waitFor(() => fake.callCounts.get('getUpdates') === 1);
    const second = updateIds({ timeout: 30 });
    expect(await held).toMatchObject({ ok: false, error_code: 409 });
    const updateId = fake.people.update({ message: {} });
    expect(await second).toEqual([updateId]);
  });

  it('files are uploaded, looked up and downloaded', async () => {
    const form = new FormData();
    form.set('chat_id', '5');
    form.set('document', new File(['hello'], 'a b.txt', { type: 'text/plain' }));
    await fetch(`${fake.apiRoot}/bot${fake.token}/sendDocument`, { method: 'POST', body: form });
    const file = fake.said(5)[0]?.file;
    expect(file).toMatchObject({ name: 'a b.txt', mime: 'text/plain' });
    const { result } = await call('getFile', { file_id: file?.fileId });
    const { file_path: filePath } = z.looseObject({ file_path: z.string() }).parse(result);
    const download = await fetch(`${fake.apiRoot}/file/bot${fake.token}/${filePath}`);
    expect(await download.text()).toBe('hello');
    expect((await fetch(`${fake.apiRoot}/file/botwrong/${filePath}`)).status).toBe(404);
  });

  it.each([
    [
      'a long caption',
      'sendDocument',
      { chat_id: 5, caption: 'x'.repeat(1_025), document: 'attach://f' },
      /caption is too long/,
    ],
    [
      'an album of one',
      'sendMediaGroup',
      { chat_id: 5, media: [{ type: 'photo', media: 'attach://f' }] },
      /2-10 items/,
    ],
    [
      'an album of eleven',
      'sendMediaGroup',
      { chat_id: 5, media: Array.from({ length: 11 }, () => ({ type: 'photo', media: 'attach://f' })) },
      /2-10 items/,
    ],
    ['a picture that is none', 'sendPhoto', { chat_id: 5, photo: 'attach://f' }, /IMAGE_PROCESS_FAILED/],
  ])('%s is refused', async (_name, method, params, description) => {
    const form = new FormData();
    for (const [key, value] of Object.entries(params)) {
      form.set(key, typeof value === 'string' ? value : JSON.stringify(value));
    }
    form.set('f', new File(['hello'], 'a.png', { type: 'image/png' }));
    const response = await fetch(`${fake.apiRoot}/bot${fake.token}/${method}`, { method: 'POST', body: form });
    expect(answerSchema.parse(await response.json()).description).toMatch(description);
    expect(fake.transcript(5)).toEqual([]);
  });

  it.each([
    ['markdown for the server to parse', 'sendRichMessage', { rich_message: { markdown: '# x' } }, /blocks expected/],
    ['an unknown block', 'sendRichMessage', { rich_message: { blocks: [{ type: 'html' }] } }, /unknown block/],
    [
      'too many blocks',
      'sendRichMessage',
      { rich_message: { blocks: Array.from({ length: 501 }, () => ({ type: 'paragraph', text: 'x' })) } },
      /BLOCKS_TOO_MUCH/,
    ],
    [
      'a rich message that is too long',
      'sendRichMessage',
      { rich_message: { blocks: [{ type: 'paragraph', text: 'x'.repeat(32_769) }] } },
      /TOO_LONG/,
    ],
    [
      'a reaction that is not in the set',
      'setMessageReaction',
      { reaction: [{ type: 'emoji', emoji: '✅' }] },
      /REACTION_INVALID/,
    ],
    ['a topic in a chat without topics', 'createForumTopic', { name: 'x' }, /not a forum/],
    ['a web hook without TLS', 'setWebhook', { url: 'http://a.b/' }, /HTTPS/],
    ['a web hook on another port', 'setWebhook', { url: 'https://a.b:8080/' }, /ports 80, 88, 443 or 8443/],
    [
      'a secret with other characters',
      'setWebhook',
      { url: 'https://a.b/', secret_token: 'a b' },
      /unallowed characters/,
    ],
    [
      'an ephemeral message in private',
      'sendMessage',
      { text: 'x', ephemeral_message_parameters: { receiver_user_id: 5 } },
      /groups only/,
    ],
  ])('%s is refused by name', async (_name, method, params, description) => {
    const messageId = fake.people.says(5, 5, 'x');
    const answer = await call(method, { chat_id: 5, message_id: messageId, ...params });
    expect(answer).toMatchObject({ ok: false, error_code: 400 });
    expect(answer.description).toMatch(description);
  });

  it('while a web hook is set nobody can poll, and taking it away keeps what waits', async () => {
    await call('setWebhook', { url: 'https://a.b/' });
    fake.state.webhook.proxyTo = 'http://127.0.0.1:1';
    expect(await call('getUpdates')).toMatchObject({ ok: false, error_code: 409 });
    fake.people.says(5, 5, 'x');
    await call('deleteWebhook');
    expect((await updateIds({})).length).toBe(1);
  });

  it('a file over twenty megabytes is not handed out', async () => {
    const file = { name: 'a', mime: 'x/y', bytes: Buffer.from('x'), claimedBytes: 20 * 1024 * 1024 + 1 };
    fake.people.says(5, 5, { file });
    expect((await call('getFile', { file_id: 'file1' })).description).toMatch(/file is too big/);
  });

  it('in a process of its own it is driven over HTTP', async () => {
    const script = new URL('../../fakes/telegram/server.main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [script, '0', '7:own'], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [line] = await once(createInterface({ input: child.stdout }), 'line');
      const { apiRoot, token } = z.object({ apiRoot: z.string(), token: z.string() }).parse(JSON.parse(String(line)));
      const injected = await post(`${apiRoot}/control/inject`, { count: 3, chats: 2, text: 'hello {n}' });
      expect(injected).toMatchObject({ injected: [{ chat: 1_001 }, { chat: 1_002 }, { chat: 1_001 }] });
      const updates = await post(`${apiRoot}/bot${token}/getUpdates`, {});
      expect(updates).toMatchObject({ ok: true, result: [{ message: { text: 'hello 0' } }, {}, {}] });
      await post(`${apiRoot}/bot${token}/sendMessage`, {
        chat_id: 1_001,
        text: 'hi',
        reply_parameters: { message_id: 1 },
      });
      const deliveries = await post(`${apiRoot}/control/deliveries`, {});
      expect(deliveries).toMatchObject({
        deliveries: [{ chat: 1_001, text: 'hi', replyTo: 1, sentAt: expect.any(Number) }],
      });
    } finally {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
  });
});
