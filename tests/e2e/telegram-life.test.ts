import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

const agents = [{ name: 'assistant', frontMatter: 'tools: []' }];
const picture = (name: string) => ({
  name,
  mime: 'image/jpeg',
  bytes: Buffer.from(`\u00ff\u00d8\u00ff ${name}`, 'latin1'),
  kind: 'photo' as const,
});

describe('Telegram, as its users know it', () => {
  let product: Product;
  beforeAll(async () => {
    product = await Product.up({ agents, script: scriptedBrain });
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });
  const said = (chat: number) => product.telegram.said(chat).map((message) => message.text);

  test('an album is one question with one answer', async () => {
    const before = product.model.requestCount();
    product.telegram.people.sendsAlbum(owner, owner, 'say: three pictures', ['a', 'b', 'c'].map(picture));
    await product.hears(owner, /three pictures/);
    product.telegram.people.says(owner, owner, 'say: and now this');
    await product.hears(owner, /and now this/);
    expect(product.model.requestCount() - before).toBe(2);
    expect(said(owner).filter((text) => /three pictures/.test(text))).toHaveLength(1);
  });

  test('a file reaches the agent, and one that is too large is explained to its sender', async () => {
    product.telegram.people.says(owner, owner, {
      text: 'say: read it',
      file: { name: 'notes.txt', mime: 'text/plain', bytes: Buffer.from('the secret word is heron') },
    });
    await product.hears(owner, /read it/);
    expect(JSON.stringify(product.model.requests.at(-1)?.body)).toContain('the secret word is heron');
    product.telegram.people.says(owner, owner, {
      text: 'say: too much',
      file: { name: 'huge.iso', mime: 'x/y', bytes: Buffer.from('x'), claimedBytes: 34 * 1024 * 1024 },
    });
    await product.hears(owner, /huge\.iso: it is larger .* than the .* that can be fetched/);
    await product.hears(owner, /too much/);
  });

  test('Stop under a draft ends the answer at once and keeps what was written as a message', async () => {
    product.telegram.people.says(owner, owner, `say: settled`);
    await product.hears(owner, /settled/);
    product.telegram.people.says(owner, owner, `endless: ${'word '.repeat(60).trim()}`);
    const draft = await product.telegram.waitFor(() =>
      product.telegram.drafts(owner).find(({ text }) => /word word/.test(text)),
    );
    const stoppedAt = Date.now();
    product.telegram.people.stopsDraft(owner, draft.draftId);
    await product.hears(owner, /Stopped\./);
    expect(Date.now() - stoppedAt).toBeLessThan(10_000);
    await product.telegram.waitFor(() => said(owner).some((text) => text.includes('word word')));
    await product.telegram.waitFor(() => product.telegram.liveDraft(owner) === undefined);
    await product.rests();
    expect(said(owner).filter((text) => text.includes('word word'))).toHaveLength(1);
  });

  test('each topic of a forum is a conversation of its own, and one that is closed goes on in the main stream', async () => {
    product.telegram.people.group(-700, { isForum: true });
    for (const topic of [45, 46]) {
      product.telegram.people.topic(-700, topic);
      const text = `@switchyard_bot say: in ${topic}`;
      product.telegram.people.says(-700, owner, { text, threadId: topic });
    }
    await product.hears(-700, /in 45/);
    await product.hears(-700, /in 46/);
    const answers = product.telegram.said(-700).filter(({ text }) => /^in 4/.test(text));
    expect(new Map(answers.map(({ text, threadId }) => [text, threadId]))).toEqual(
      new Map([
        ['in 45', 45],
        ['in 46', 46],
      ]),
    );
    product.telegram.people.says(-700, owner, { text: '@switchyard_bot slow: the long answer', threadId: 45 });
    product.telegram.people.topic(-700, 45, 'closed');
    await product.hears(-700, /the long answer$/);
    expect(product.telegram.said(-700).find(({ text }) => /the long answer$/.test(text))?.threadId).toBeUndefined();
    expect(said(-700).filter((text) => /closed or deleted/.test(text))).toHaveLength(1);
  });

  test('a task in a forum gets a topic named after it and is answered there', async () => {
    product.telegram.people.group(-705, { isForum: true });
    product.telegram.people.says(-705, owner, '/run@switchyard_bot say: sorted the forum');
    await product.hears(-705, /^sorted the forum/);
    const { topicNames } = product.telegram.people.chat(-705);
    const [[topic, name] = [0, '']] = [...topicNames];
    expect(name).toContain('sorted the forum');
    const answer = product.telegram.said(-705).find(({ text }) => /^sorted the forum/.test(text));
    expect(answer?.threadId).toBe(topic);
    product.telegram.people.says(-705, owner, { text: '@switchyard_bot say: further in there', threadId: topic });
    await product.hears(-705, /further in there/);
    expect(JSON.stringify(product.model.requests.at(-1)?.body)).toContain('sorted the forum');
  });

  test('without topics a task in a private chat stays there; with them it gets one', async () => {
    product.telegram.people.says(owner, owner, '/run say: stays here');
    await product.hears(owner, /stays here$/);
    const chat = 2705;
    const { stdout } = await product.cli(['pair']);
    product.telegram.people.says(chat, chat, `/start ${/[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(stdout)?.[0] ?? ''}`);
    await product.hears(chat, /We are paired/);
    product.telegram.state.hasTopics = true;
    product.telegram.people.says(chat, chat, '/run say: a place of its own');
    await product.hears(chat, /^a place of its own/);
    const placeOf = (room: number, pattern: RegExp): number | undefined =>
      product.telegram.said(room).find(({ text }) => pattern.test(text))?.threadId;
    expect(placeOf(owner, /stays here$/)).toBeUndefined();
    expect([...product.telegram.people.chat(chat).topicNames.keys()]).toEqual([placeOf(chat, /^a place of its own/)]);
  });

  test('a group that becomes a supergroup goes on in its new room with what was said before', async () => {
    product.telegram.people.group(-710, { type: 'group' });
    product.telegram.people.says(-710, owner, '@switchyard_bot say: before the move');
    await product.hears(-710, /before the move/);
    product.telegram.people.migrates(-710, -711);
    product.telegram.people.says(-711, owner, '@switchyard_bot say: after the move');
    await product.hears(-711, /after the move/);
    const last = JSON.stringify(product.model.requests.at(-1)?.body);
    expect(last).toContain('before the move');
    expect(said(-711).filter((text) => /after the move/.test(text))).toHaveLength(1);
  });

  test('in a group the reaction below the question shows that it is worked on, and goes with the answer', async () => {
    product.telegram.people.group(-706);
    const asked = product.telegram.people.says(-706, owner, '@switchyard_bot slow: in its own time');
    await product.hears(-706, /in its own time$/);
    const signs = (): string[] =>
      product.telegram.state.reactions
        .filter(({ chatId, messageId }) => chatId === -706 && messageId === asked)
        .map(({ emoji }) => emoji[0] ?? 'none');
    await product.telegram.waitFor(() => signs().at(-1) === 'none');
    expect(signs()).toEqual(['👨‍💻', 'none']);
  });

  test('nobody without a face is answered: anonymous admins, channels, other bots', async () => {
    product.telegram.people.group(-701);
    product.telegram.people.saysAnonymously(-701, '@switchyard_bot say: in the name of the group');
    product.telegram.people.update({
      message: {
        message_id: 900,
        date: 1,
        chat: { id: -701, type: 'supergroup', title: 'G' },
        from: { id: 77, is_bot: true, first_name: 'Other', username: 'other_bot' },
        text: '@switchyard_bot say: from a bot',
        entities: [{ type: 'mention', offset: 0, length: 15 }],
      },
    });
    product.telegram.people.says(-701, owner, '@switchyard_bot say: from a person');
    await product.hears(-701, /from a person/);
    expect(said(-701)).toEqual(['from a person']);
  });

  test('talk in a group that is not for us, and commands for other bots, leave no trace of an answer', async () => {
    product.telegram.people.group(-702);
    product.telegram.people.says(-702, owner, 'say: nothing');
    product.telegram.people.says(-702, owner, '/run@other_bot say: nothing');
    product.telegram.people.says(-702, owner, '/unheardof say: nothing');
    product.telegram.people.says(-702, owner, '@switchyard_bot say: something');
    await product.hears(-702, /something/);
    expect(said(-702)).toEqual(['something']);
  });
});

test('a process that dies between joining an album and routing it loses nothing and asks once', async () => {
  await using product = await Product.up({ agents, script: scriptedBrain });
  await product.kill('up');
  await product.start('up', { FAIL_AT: 'inbox.joined' });
  product.telegram.people.sendsAlbum(owner, owner, 'say: five of them', ['a', 'b', 'c', 'd', 'e'].map(picture));
  await product.ended('up');
  await product.start('up');
  await product.hears(owner, /five of them/);
  product.telegram.people.says(owner, owner, 'say: barrier');
  await product.hears(owner, /barrier/);
  expect(product.model.requestCount()).toBe(2);
});

test('a process that dies while a draft is shown leaves one answer and no ghost', async () => {
  await using product = await Product.up({ agents, script: scriptedBrain });
  product.telegram.people.says(owner, owner, `endless: ${'word '.repeat(30).trim()}`);
  await product.telegram.waitFor(() => product.telegram.drafts(owner).some(({ text }) => /word word/.test(text)));
  await product.kill('up');
  product.model.use([{ text: 'word for word' }]);
  await product.start('up');
  await product.hears(owner, /word for word/, 60_000);
  const answers = product.telegram.said(owner).filter(({ text }) => /word/.test(text));
  expect(answers.map(({ text }) => text)).toEqual(['word for word']);
  await product.telegram.waitFor(() => product.telegram.liveDraft(owner) === undefined);
});

test('by web hook the same conversations work, and what is said while the product is down is answered after', async () => {
  const port = await freePort();
  const product = await Product.prepare({
    agents,
    script: scriptedBrain,
    env: {
      SWITCHYARD_PORT: String(port),
      SWITCHYARD_PUBLIC_URL: 'https://bots.example',
      TELEGRAM_WEBHOOK_SECRET: 'tests-only_secret',
    },
  });
  await using _ = product;
  const { webhook } = product.telegram.state;
  webhook.proxyTo = `http://127.0.0.1:${port}`;
  await product.start('up');
  await product.pairOwner();
  product.telegram.people.says(owner, owner, 'say: hello by web hook');
  await product.hears(owner, /hello by web hook/);
  expect(product.telegram.callCounts.get('getUpdates')).toBeUndefined();

  await product.kill('up');
  for (const text of ['one', 'two', 'three']) product.telegram.people.says(owner, owner, `say: ${text} while down`);
  await product.start('up');
  for (const text of ['one', 'two', 'three']) await product.hears(owner, new RegExp(`${text} while down`));
  const answers = product.telegram.said(owner).map((message) => message.text);
  for (const text of ['one', 'two', 'three']) {
    expect(answers.join('\n').split(`${text} while down`)).toHaveLength(2);
  }
  expect(await webhook.forge({ update_id: 1 }, 'wrong')).toBe(401);
  expect(product.output).not.toContain('tests-only_secret');
});
