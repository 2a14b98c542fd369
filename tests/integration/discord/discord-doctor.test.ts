import { expect, test } from 'vitest';
import { checkDiscord } from '#app/doctor/check-discord.ts';
import { FakeDiscord } from '../../fakes/discord/fake-discord.ts';

test('the doctor says as whom the bot is connected, and what is missing, without the token', async () => {
  await using fake = await FakeDiscord.start();
  const discord = { token: fake.token, apiUrl: fake.apiUrl };
  expect(await checkDiscord(discord)).toEqual({ name: 'Discord', status: 'ok', detail: 'connected as switchyard' });
  fake.world.applicationFlags = 0;
  expect(await checkDiscord(discord)).toMatchObject({
    status: 'broken',
    detail: 'switchyard lacks the intent Message Content',
    mend: expect.stringContaining('Privileged Gateway Intents'),
  });
  fake.isTokenRevoked = true;
  const refused = await checkDiscord(discord);
  expect(refused).toMatchObject({ status: 'broken', mend: expect.stringContaining('Reset Token') });
  expect(JSON.stringify(refused)).not.toContain(fake.token);
  await fake.goDown();
  expect(await checkDiscord(discord)).toMatchObject({
    status: 'broken',
    detail: expect.stringContaining('cannot be reached'),
  });
  expect(await checkDiscord(undefined)).toMatchObject({ status: 'ok' });
});
