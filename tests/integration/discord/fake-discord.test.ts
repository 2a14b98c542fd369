import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { eventually } from '#tests/support/eventually.ts';
import { FakeDiscord, type FakeDiscordOptions } from '../../fakes/discord/fake-discord.ts';

const ann = '600000000000000001';

async function open(options: FakeDiscordOptions = {}) {
  const fake = await FakeDiscord.start(options);
  const call = async (method: string, path: string, body?: unknown, token = fake.token) => {
    const response = await fetch(`${fake.apiUrl}/v10${path}`, {
      method,
      headers: { authorization: `Bot ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const answer: Record<string, unknown> = text === '' ? {} : JSON.parse(text);
    return { status: response.status, headers: response.headers, answer };
  };
  return { fake, call };
}

/** A bare gateway client: what it was sent, and how it was closed. */
async function connect(fake: FakeDiscord) {
  const socket = new WebSocket(`ws://127.0.0.1:${new URL(fake.apiUrl).port}/?v=10&encoding=json`);
  const frames: { op: number; t?: string; s?: number; d?: Record<string, unknown> }[] = [];
  let closed: number | undefined;
  socket.on('message', (data) => frames.push(JSON.parse(String(data))));
  socket.on('close', (code) => {
    closed = code;
  });
  await eventually(() => expect(frames[0]?.op).toBe(10));
  return {
    frames,
    send: (frame: object) => socket.send(JSON.stringify(frame)),
    raw: (text: string) => socket.send(text),
    until: async (t: string) =>
      await eventually(() => {
        const found = frames.findLast((frame) => frame.t === t);
        if (found === undefined) throw new Error(`no ${t}`);
        return found;
      }),
    closedWith: async () =>
      await eventually(() => {
        if (closed === undefined) throw new Error('still open');
        return closed;
      }),
    close: () => socket.close(),
  };
}

const intents = (1 << 0) | (1 << 9) | (1 << 12);

test('messages are refused beyond the platform’s limits, with its codes and the path of the fault', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const room = fake.people.dm(ann);
  const post = async (body: object) => await call('POST', `/channels/${room}/messages`, body);
  const button = { type: 2, style: 1, label: 'x', custom_id: 'same' };
  const rows = (count: number) => [{ type: 1, components: Array.from({ length: count }, () => button) }];
  const card = (content: string) => ({
    flags: 1 << 15,
    components: [{ type: 17, components: [{ type: 10, content }] }],
  });
  const cases: readonly (readonly [object, number, RegExp])[] = [
    [{ content: 'x'.repeat(2_001) }, 50_035, /"content".*BASE_TYPE_MAX_LENGTH/],
    [{ content: '' }, 50_006, /empty/],
    [{ content: 'x', nonce: 'n'.repeat(26) }, 50_035, /"nonce"/],
    [{ content: 'x', components: rows(6) }, 50_035, /BASE_TYPE_BAD_LENGTH/],
    [{ content: 'x', components: rows(2) }, 50_035, /DUPLICATED/],
    [{ content: 'x', components: [{ type: 17, components: [] }] }, 50_035, /BASE_TYPE_CHOICES/],
    [{ ...card('x'), content: 'both' }, 50_035, /LEGACY_FIELDS/],
    [card('x'.repeat(4_001)), 50_035, /DISPLAYABLE_TEXT/],
    [
      { flags: 1 << 15, components: Array.from({ length: 41 }, () => ({ type: 10, content: 'x' })) },
      50_035,
      /COMPONENTS_EXCEEDED/,
    ],
    [
      { content: 'x', components: [{ type: 1, components: [{ ...button, custom_id: 'i'.repeat(101) }] }] },
      50_035,
      /custom_id/,
    ],
    [{ content: 'x', embeds: Array.from({ length: 11 }, () => ({})) }, 50_035, /embeds/],
    [{ content: 'x', allowed_mentions: { parse: ['users'], users: ['1'] } }, 50_035, /EXCLUSIVE/],
    [{ content: 'x', message_reference: { message_id: '1' } }, 50_035, /MESSAGE_REFERENCE_UNKNOWN/],
  ];
  for (const [body, code, fault] of cases) {
    const { status, answer } = await post(body);
    expect([status, answer['code']], JSON.stringify(body).slice(0, 80)).toEqual([400, code]);
    expect(JSON.stringify(answer)).toMatch(fault);
  }
  expect((await post({ content: 'x'.repeat(2_000) })).status).toBe(200);
  expect((await post(card('x'.repeat(4_000)))).status).toBe(200);
});

test('a nonce that is enforced gives the same message again, in its channel only', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const [a, b] = [fake.people.dm(ann), fake.people.dm('600000000000000002')];
  const body = { content: 'once', nonce: 'n1', enforce_nonce: true };
  const first = await call('POST', `/channels/${a}/messages`, body);
  expect((await call('POST', `/channels/${a}/messages`, body)).answer['id']).toBe(first.answer['id']);
  expect((await call('POST', `/channels/${b}/messages`, body)).answer['id']).not.toBe(first.answer['id']);
  expect(fake.said(a).length).toBe(1);
});

test('messages after an id come a hundred at most, the oldest ones, newest of them first', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const room = fake.people.dm(ann);
  const ids = Array.from({ length: 130 }, (_id, index) => fake.people.says(room, ann, String(index)));
  const response = await fetch(`${fake.apiUrl}/v10/channels/${room}/messages?after=${ids[9]}&limit=100`, {
    headers: { authorization: `Bot ${fake.token}` },
  });
  const page = (await response.json()) as { id: string }[];
  expect(page.map(({ id }) => id)).toEqual(ids.slice(10, 110).reverse());
  expect((await call('GET', `/channels/${room}/messages?limit=101`)).answer['code']).toBe(50_035);
});

test('what is not there, closed or locked is refused with its own code, and empty answers are not called JSON', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const { people, world } = fake;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  const code = async (method: string, path: string, body?: unknown, token?: string) => {
    const { status, answer } = await call(method, path, body, token);
    return [status, answer['code']];
  };
  const hi = { content: 'hi' };
  expect(await code('POST', '/channels/123/messages', hi)).toEqual([404, 10_003]);
  expect(await code('PATCH', `/channels/${room}/messages/1`, hi)).toEqual([404, 10_008]);
  expect(await code('POST', `/channels/${room}/messages`, hi, 'wrong')).toEqual([401, 0]);
  const thread = people.thread(room, ann);
  people.archives(thread, { isLocked: true });
  expect(await code('POST', `/channels/${thread}/messages`, hi)).toEqual([400, 160_005]);
  const id = people.says(room, ann, 'x');
  expect(await code('PATCH', `/channels/${room}/messages/${id}`, hi)).toEqual([403, 50_005]);
  await call('POST', `/channels/${room}/messages/${id}/threads`, { name: 'n' });
  expect(await code('POST', `/channels/${room}/messages/${id}/threads`, { name: 'n' })).toEqual([400, 160_004]);
  const channel = world.channels.get(room);
  if (channel !== undefined) channel.canSend = false;
  expect(await code('POST', `/channels/${room}/messages`, hi)).toEqual([403, 50_013]);
  world.closedTo.add(ann);
  expect(await code('POST', `/channels/${people.dm(ann)}/messages`, hi)).toEqual([403, 50_007]);
  people.kicksBot(guild);
  expect(await code('POST', `/channels/${room}/messages`, hi)).toEqual([403, 50_001]);
  world.closedTo.clear();
  const typing = await call('POST', `/channels/${people.dm(ann)}/typing`);
  expect([typing.status, typing.headers.get('content-type')]).toEqual([204, null]);
  // 401, 403 and 429 count towards the ban.
  expect(fake.rates.invalidRequests).toBe(5);
});

test('real rates are told in the headers and enforced per channel and for everything', async () => {
  const { fake, call } = await open({ realRates: true, rateStretch: 30 });
  await using _ = fake;
  const room = fake.people.dm(ann);
  const answers = [];
  for (let n = 0; n < 6; n += 1) answers.push(await call('POST', `/channels/${room}/messages`, { content: 'x' }));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 429]);
  expect(answers[4]?.headers.get('x-ratelimit-remaining')).toBe('0');
  expect(Number(answers[5]?.headers.get('retry-after'))).toBeGreaterThan(0);
  const many = await Promise.all(Array.from({ length: 80 }, async () => await call('GET', '/users/@me')));
  expect(many.some(({ status, answer }) => status === 429 && answer['global'] === true)).toBe(true);
});

test('the gateway closes on a bad frame, a wrong token and intents that are not allowed', async () => {
  const { fake } = await open();
  await using _ = fake;
  const identify = (more: object) => ({ op: 2, d: { token: fake.token, intents, properties: {}, ...more } });
  const closes = async (act: (client: Awaited<ReturnType<typeof connect>>) => void): Promise<number> => {
    const client = await connect(fake);
    act(client);
    return await client.closedWith();
  };
  expect(await closes((client) => client.raw('no json'))).toBe(4_002);
  expect(await closes((client) => client.send({ op: 99 }))).toBe(4_001);
  expect(await closes((client) => client.send({ op: 3, d: {} }))).toBe(4_003);
  expect(await closes((client) => client.send(identify({ token: 'wrong' })))).toBe(4_004);
  expect(await closes((client) => client.send(identify({ intents: 1 << 30 })))).toBe(4_013);
  expect(await closes((client) => client.send(identify({ intents: 1 << 8 })))).toBe(4_014);
  expect(
    await closes((client) => {
      client.send(identify({}));
      client.send(identify({}));
    }),
  ).toBe(4_005);
});

test('a resume replays what was missed, a session that is gone is invalid, and heartbeats are answered', async () => {
  const { fake } = await open();
  await using _ = fake;
  const room = fake.people.dm(ann);
  const first = await connect(fake);
  first.send({ op: 2, d: { token: fake.token, intents } });
  const ready = await first.until('READY');
  first.send({ op: 1, d: null });
  await eventually(() => expect(first.frames.some(({ op }) => op === 11)).toBe(true));
  first.close();
  await eventually(() => expect(fake.gateway.connected).toBe(0));
  fake.people.says(room, ann, 'missed');
  const resume = { op: 6, d: { token: fake.token, session_id: ready.d?.['session_id'], seq: ready.s } };
  const second = await connect(fake);
  second.send(resume);
  await second.until('RESUMED');
  expect(second.frames.find(({ t }) => t === 'MESSAGE_CREATE')?.d?.['content']).toBe('missed');
  fake.gateway.forgetSessions();
  const third = await connect(fake);
  third.send(resume);
  await eventually(() => expect(third.frames.at(-1)).toMatchObject({ op: 9, d: false }));
});

test('without Message Content the words of others are empty, but for private chats and mentions', async () => {
  const { fake } = await open();
  await using _ = fake;
  const { people, world } = fake;
  const room = people.channel(people.guild([ann]));
  const client = await connect(fake);
  client.send({ op: 2, d: { token: fake.token, intents } });
  await client.until('READY');
  people.says(room, ann, 'chatter');
  people.says(room, ann, `<@${world.bot.id}> to you`);
  people.says(people.dm(ann), ann, 'in private');
  await eventually(() => {
    const words = client.frames.filter(({ t }) => t === 'MESSAGE_CREATE').map(({ d }) => d?.['content']);
    expect(words).toEqual(['', `<@${world.bot.id}> to you`, 'in private']);
  });
});

test('an interaction is answered once, in time, and its token dies', async () => {
  const { fake, call } = await open({ times: { answerMs: 60_000, tokenMs: 600_000 } });
  await using _ = fake;
  const { people, world } = fake;
  const room = people.dm(ann);
  world.commands = [{ id: '1', type: 1, name: 'help', body: {} }];
  const slash = () => fake.interaction(people.slash(room, ann, 'help'));
  const answer = async (interaction: { id: string; token: string }, body: object) => {
    const { status, answer: given } = await call(
      'POST',
      `/interactions/${interaction.id}/${interaction.token}/callback`,
      body,
    );
    return [status, given['code']];
  };
  const hook = async (token: string, path = '/messages/@original') =>
    (await call('GET', `/webhooks/${world.applicationId}/${token}${path}`)).answer['code'];
  const one = slash();
  expect(await hook(one.token)).toBe(10_015);
  expect(await answer({ ...one, token: 'forged' }, { type: 5 })).toEqual([404, 10_062]);
  expect(await answer(one, { type: 6 })).toEqual([400, 50_035]);
  expect(await answer(one, { type: 5 })).toEqual([204, undefined]);
  expect(await answer(one, { type: 4, data: { content: 'x' } })).toEqual([400, 40_060]);
  expect(await hook(one.token)).toBeUndefined();
  const late = slash();
  fake.ages(60_000);
  expect(await answer(late, { type: 5 })).toEqual([404, 10_062]);
  expect(await hook(one.token)).toBeUndefined();
  fake.ages(540_000);
  expect(await hook(one.token)).toBe(50_027);
});

test('commands are checked as the platform checks them', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const put = async (...commands: object[]) => (await call('PUT', '/applications/1/commands', commands)).answer['code'];
  const option = (name: string, more: object = {}) => ({ type: 3, name, description: 'x', ...more });
  expect(await put({ name: 'Bad Name', description: 'x' })).toBe(50_035);
  expect(await put({ name: 'a', description: 'd'.repeat(101) })).toBe(50_035);
  expect(await put({ name: 'a', description: 'x', options: [option('b'), option('c', { required: true })] })).toBe(
    50_035,
  );
  expect(
    await put({ name: 'a', description: 'x', options: [option('b', { required: true }), option('c')] }),
  ).toBeUndefined();
  expect(() => fake.people.slash(fake.people.dm(ann), ann, 'a')).toThrow(/needs b/);
});

test('planned faults break calls before or after their effect', async () => {
  const { fake, call } = await open();
  await using _ = fake;
  const room = fake.people.dm(ann);
  const post = async () => await call('POST', `/channels/${room}/messages`, { content: 'x' });
  fake.faults.next('createMessage', { kind: 'dropBefore' });
  await expect(post()).rejects.toThrow();
  expect(fake.said(room).length).toBe(0);
  fake.faults.next('createMessage', { kind: 'dropAfter' });
  await expect(post()).rejects.toThrow();
  expect(fake.said(room).length).toBe(1);
  fake.faults.next('createMessage', { kind: 'throttle', retryAfter: 2 }, 1, room);
  expect((await post()).headers.get('retry-after')).toBe('2');
});
