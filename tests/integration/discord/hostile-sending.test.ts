import { expect, test } from 'vitest';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { DiscordStage } from './discord-stage.ts';

const ann = '600000000000000001';

test('a card that was decided before its lost answer is repeated does not keep its live buttons', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  const conversation = stage.conversation(room, { kind: 'channel', space: guild.id });
  const asking: OutboundBody = {
    parts: [
      { type: 'markdown', markdown: 'Shall I?' },
      { type: 'buttons', rows: [[{ label: 'Approve', token: 'v1.approve' }]] },
    ],
  };
  const decided: OutboundBody = { parts: [{ type: 'notice', level: 'success', markdown: 'Approved.' }] };
  stage.fake.faults.next('createMessage', { kind: 'dropAfter' });
  await expect(stage.channel.send(conversation, asking, 'o1')).rejects.toThrow();
  await stage.channel.send(conversation, decided, 'o1');
  const said = stage.fake.said(room);
  expect(said).toHaveLength(1);
  expect(said[0]?.text).toContain('Approved.');
  expect(said[0]?.buttons).toEqual([]);
});
