import { expect, test } from 'vitest';
import { DiscordApi } from '#bots/discord/discord-api.ts';
import { classifyDiscordError } from '#bots/discord/discord-errors.ts';
import { systemClock } from '#core/kit/clock.ts';
import { FakeDiscord } from '../../fakes/discord/fake-discord.ts';

test('before Discord would bar our address for refused calls, no more are made for a while', async () => {
  await using fake = await FakeDiscord.start();
  const api = new DiscordApi({ token: fake.token, apiUrl: fake.apiUrl, clock: systemClock, refusedMax: 20 });
  const room = fake.people.dm('600000000000000001');
  fake.world.closedTo.add('600000000000000001');
  const send = async () =>
    await api.createMessage(room, { content: 'x' }).then(
      () => undefined,
      (err: unknown) => classifyDiscordError(err),
    );
  for (let n = 0; n < 20; n += 1) expect((await send())?.kind).toBe('unreachable');
  const failure = await send();
  expect(failure).toMatchObject({
    kind: 'throttled',
    scope: 'account',
    reason: expect.stringContaining('would bar us'),
  });
  expect(failure?.afterMs).toBeGreaterThan(60_000);
  expect(fake.rates.invalidRequests).toBe(20);
});
