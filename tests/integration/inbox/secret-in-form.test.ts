import { expect, test } from 'vitest';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage } from '#tests/support/routing-stage.ts';

test('a key that is typed into a form is not read on and not kept', async () => {
  await using stage = await RoutingStage.open();
  const place: Conversation = { channel: 'slack', account: 'bot', room: 'D1', kind: 'dm' };
  await stage.pairs(place, { name: 'ann' }, 'owner');
  const key = `sk-proj-${'Ab1'.repeat(12)}`;
  await stage.route(place, {
    type: 'form',
    token: 'any',
    values: { words: `it is ${key}` },
    conversation: place,
    actor: { externalId: 'ann', displayName: 'ann', isBot: false, isAnonymous: false },
    occurredAt: new Date(),
  });
  expect(await stage.lastText(place)).toContain('looks like an OpenAI key');
  const rows = await stage.database.query<{ raw: string }>('select raw::text as raw from inbox');
  expect(rows.map(({ raw }) => raw).join()).not.toContain(key);
});
