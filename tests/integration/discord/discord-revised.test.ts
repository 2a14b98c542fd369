import { expect, test } from 'vitest';
import { DiscordStage, markdown } from './discord-stage.ts';

test('a send that is repeated with words revised since says the new ones, in the same message', async () => {
  let now = Date.now();
  await using stage = await DiscordStage.open({
    channel: { clock: { now: () => new Date(now), sleep: async () => undefined } },
  });
  const { people } = stage.fake;
  const guild = people.guild([people.user('600000000000000001')]);
  const room = people.channel(guild);
  const conversation = stage.conversation(room, { kind: 'channel', space: guild.id });
  const asking = { parts: [{ type: 'notice' as const, level: 'question' as const, markdown: 'May I?' }] };
  const decided = { parts: [{ type: 'notice' as const, level: 'success' as const, markdown: 'Approved.' }] };
  for (const [before, after] of [
    [asking, decided],
    [markdown('first words'), markdown('second words')],
  ] as const) {
    const key = JSON.stringify(after);
    const ref = await stage.channel.send(conversation, before, key);
    // The worker died before it had recorded that; another one sends what is true by now.
    now += 10_000;
    expect(await stage.channel.send(conversation, after, key)).toEqual(ref);
  }
  expect(stage.fake.said(room).map(({ text }) => text)).toEqual([expect.stringContaining('Approved.'), 'second words']);
});
