import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RawEvent } from '#bots/channel.ts';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import { eventually } from '#tests/support/eventually.ts';
import { FakeTelegram } from '../../fakes/telegram/fake-telegram.ts';

const person = 501;

describe('Telegram long polling', () => {
  let fake: FakeTelegram;
  let stored: RawEvent[];
  let logLines: string[];
  let stops: AbortController[];
  let runs: Promise<void>[];

  const make = (token = fake.token) =>
    new TelegramChannel({
      token,
      apiRoot: fake.apiRoot,
      log: pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) }),
    });
  const run = (
    channel: TelegramChannel,
    ingest = async (events: readonly RawEvent[]) => void stored.push(...events),
  ) => {
    const stop = new AbortController();
    stops.push(stop);
    const done = channel.run(ingest, stop.signal);
    runs.push(done);
    return { stop, done };
  };
  const becomes = (channel: TelegramChannel, state: string) =>
    eventually(() => expect(channel.health().state).toBe(state), { interval: 10 });
  const texts = (channel: TelegramChannel) =>
    stored
      .flatMap(({ raw }) => channel.normalise(raw))
      .flatMap((event) => (event.type === 'message' ? [event.text] : []));

  beforeEach(async () => {
    fake = await FakeTelegram.start();
    fake.people.privateChat(person);
    stored = [];
    logLines = [];
    stops = [];
    runs = [];
  });
  afterEach(async () => {
    for (const stop of stops) stop.abort();
    await Promise.all(runs);
    await fake[Symbol.asyncDispose]();
    // Whatever went wrong above, the secret half of the token is in no log line.
    expect(logLines.join()).not.toContain(fake.token.split(':')[1]);
  });

  it('an update is confirmed only after it was stored', async () => {
    const channel = make();
    let commit = (): void => undefined;
    const committed = new Promise<void>((resolve) => {
      commit = resolve;
    });
    run(channel, async (events) => {
      stored.push(...events);
      await committed;
    });
    fake.people.says(person, person, 'hold me');
    await eventually(() => expect(stored.length).toBe(1));
    expect(fake.updates.pending).toBe(1);
    commit();
    await eventually(() => expect(fake.updates.pending).toBe(0));
  });

  it('a restart after a crash between fetching and storing loses nothing', async () => {
    const dying = make();
    run(dying, async () => new Promise<never>(() => undefined)).done.catch(() => undefined);
    runs.length = 0;
    fake.people.says(person, person, 'survive');
    await fake.waitFor(() => fake.updates.deliveredAt.size === 1);
    const next = make();
    run(next);
    await eventually(() => expect(texts(next)).toEqual(['survive']));
  });

  it('what was stored is confirmed on the way out', async () => {
    const channel = make();
    const { stop, done } = run(channel);
    fake.people.says(person, person, 'last words');
    await eventually(() => expect(stored.length).toBe(1));
    stop.abort();
    await done;
    expect(fake.updates.pending).toBe(0);
    expect(channel.health()).toEqual({ state: 'disconnected', detail: 'stopped' });
  });

  it('an update seen twice keeps its key', async () => {
    const channel = make();
    run(channel);
    fake.people.says(person, person, 'echo');
    await eventually(() => expect(stored.length).toBe(1));
    fake.updates.repeat();
    await eventually(() => expect(stored.length).toBe(2));
    expect(stored[1]?.dedupKey).toBe(stored[0]?.dedupKey);
  });

  it('ten thousand waiting updates arrive once each and in order', async () => {
    for (let index = 0; index < 10_000; index += 1) fake.people.says(person, person, `message ${index}`);
    const channel = make();
    run(channel);
    await eventually(() => expect(stored.length).toBe(10_000));
    const ids = stored.map((event) => Number(event.dedupKey));
    expect(ids.every((id, index) => index === 0 || id === (ids[index - 1] ?? 0) + 1)).toBe(true);
  });

  it('an outage is waited out and nothing said meanwhile is lost', async () => {
    const channel = make();
    run(channel);
    await becomes(channel, 'connected');
    const { port } = fake;
    await fake.goDown();
    await becomes(channel, 'disconnected');
    fake.people.says(person, person, 'during the outage');
    await fake.listen(port);
    await becomes(channel, 'connected');
    await eventually(() => expect(texts(channel)).toEqual(['during the outage']));
  });

  it.each([
    ['a server error', { kind: 'status', code: 502, description: 'Bad Gateway' }],
    ['an outage page', { kind: 'html', code: 503 }],
    ['a stray page', { kind: 'html', code: 404 }],
    ['a broken connection', { kind: 'dropBefore' }],
    ['a request to wait', { kind: 'throttle', retryAfter: 1 }],
  ] as const)('%s on polling is retried', async (_name, fault) => {
    fake.faults.next('getUpdates', fault, 2);
    const channel = make();
    run(channel);
    fake.people.says(person, person, 'through');
    await eventually(() => expect(texts(channel)).toEqual(['through']));
  });

  it('a wrong token halts the channel with a line that says what to do', async () => {
    const wrong = '700001:AAWrongTokenButWellFormed_0123456789abc';
    const channel = make(wrong);
    const { stop, done } = run(channel);
    await becomes(channel, 'halted');
    expect(channel.health().detail).toMatch(/does not accept the bot token.*TELEGRAM_BOT_TOKEN/);
    const calls = fake.calls.length;
    stop.abort();
    await done;
    expect(fake.calls.length).toBe(calls);
    expect(logLines.join()).not.toContain(wrong.split(':')[1]);
  });

  it('a token that is revoked while it is used halts the channel, and nothing is asked any more', async () => {
    const channel = make();
    run(channel);
    await becomes(channel, 'connected');
    fake.faults.next('getUpdates', { kind: 'status', code: 401, description: 'Unauthorized' });
    fake.people.says(person, person, 'wake the held poll');
    await becomes(channel, 'halted');
    expect(logLines.join()).toMatch(/telegram token was refused/);
    const calls = fake.calls.length;
    fake.people.says(person, person, 'nobody asks for this');
    // Whoever else asks finds it there, as the only caller.
    const answer = await fetch(`${fake.apiRoot}/bot${fake.token}/getUpdates`);
    expect(await answer.text()).toContain('nobody asks for this');
    expect(fake.calls.length).toBe(calls + 1);
  });

  it('a token that cannot be one halts without being sent anywhere', async () => {
    const channel = make('not a token/../x');
    expect(channel.account).toBe('invalid');
    run(channel);
    await becomes(channel, 'halted');
    expect(logLines.join()).not.toContain('not a token');
  });

  it('of two pollers one works, the other stands by and takes over', async () => {
    const first = make();
    const second = make();
    const { stop } = run(first);
    await becomes(first, 'connected');
    await fake.waitFor(() => fake.callsOf('getUpdates').length >= 2);
    run(second);
    await eventually(() => expect([first.health().state, second.health().state]).toContain('standby'));
    stop.abort();
    await becomes(second, 'connected');
    fake.people.says(person, person, 'who hears me?');
    await eventually(() => expect(texts(second)).toContain('who hears me?'));
  });

  it('a webhook that was set meanwhile is removed and polling goes on', async () => {
    const channel = make();
    run(channel);
    await becomes(channel, 'connected');
    const description = "Conflict: can't use getUpdates method while webhook is active";
    fake.faults.next('getUpdates', { kind: 'status', code: 409, description });
    fake.people.says(person, person, 'wake the held poll');
    await fake.waitFor(() => fake.callCounts.get('deleteWebhook') === 2);
    await becomes(channel, 'connected');
  });

  it('unknown kinds of updates are not asked for and read as nothing', async () => {
    const channel = make();
    run(channel);
    await becomes(channel, 'connected');
    fake.people.update({ poll_answer: { poll_id: '1' } });
    fake.people.update({ message: { message_id: 1, something: 'new' } });
    fake.people.says(person, person, 'still here');
    await eventually(() => expect(texts(channel)).toEqual(['still here']));
    const asked = fake.callsOf('getUpdates').map((call) => call.params['allowed_updates']);
    expect(asked[0]).toEqual([
      'message',
      'edited_message',
      'callback_query',
      'my_chat_member',
      'message_reaction',
      'stopped_message_generation',
    ]);
  });

  it('people, groups, topics, presses and blocks reach the neutral form', async () => {
    const channel = make();
    const group = fake.people.group(-100, { isForum: true });
    fake.people.topic(group, 44);
    fake.people.says(group, person, { text: '@switchyard_bot look', threadId: 44 });
    fake.people.says(group, person, '/run@switchyard_bot ls');
    const id = fake.people.says(person, person, 'first');
    fake.people.edits(person, id, 'second');
    fake.people.presses(group, 9, 'v1.forged', { forged: true, inaccessible: true });
    fake.people.stopsDraft(person, 77);
    fake.people.changesMembership(person, person, 'kicked');
    fake.people.sendsAlbum(group, person, 'two', [
      { name: 'a.txt', mime: 'text/plain', bytes: Buffer.from('a') },
      { name: 'b.txt', mime: 'text/plain', bytes: Buffer.from('b') },
    ]);
    fake.people.reacts(group, person, 1, [], ['👍']);
    fake.people.saysAnonymously(group, 'approve');
    fake.people.migrates(group, -200);
    run(channel);
    await eventually(() => expect(stored.length).toBe(13));
    expect(stored.flatMap(({ raw }) => channel.normalise(raw))).toMatchObject([
      {
        type: 'message',
        addressed: 'mention',
        text: 'look',
        conversation: { room: '-100', thread: '44', kind: 'group' },
      },
      { type: 'command', name: 'run', args: 'ls' },
      { type: 'message', text: 'first' },
      { type: 'edit', text: 'second', messageId: String(id) },
      { type: 'action', token: 'v1.forged', actor: { externalId: '9' }, conversation: { room: '-100' } },
      { type: 'stop', draftId: 77 },
      { type: 'membership', change: 'blocked' },
      { type: 'message', text: 'two', albumId: 'album1', files: [{ name: 'a.txt' }] },
      { type: 'message', text: '', albumId: 'album1', files: [{ name: 'b.txt' }] },
      { type: 'reaction', emoji: '👍', isAdded: true, messageId: '1' },
      { type: 'message', actor: { externalId: 'chat:-100', isAnonymous: true } },
      { type: 'membership', change: 'migrated', newRoom: '-200', conversation: { room: '-100' } },
      { type: 'membership', change: 'migrated', newRoom: '-200', conversation: { room: '-100' } },
    ]);
    // Both announcements of a move have one key, so that only the first is stored.
    expect(new Set(stored.slice(-2).map(({ dedupKey }) => dedupKey))).toEqual(new Set(['migration:-100:-200']));
  });

  it('a wrong address of the server is refused by name', () => {
    const log = pino({ level: 'silent' });
    expect(() => new TelegramChannel({ token: fake.token, apiRoot: 'localhost', log })).toThrow(/TELEGRAM_API_ROOT/);
  });
});
