import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkTelegram } from '#app/doctor/check-telegram.ts';
import { FakeTelegram } from '../../fakes/telegram/fake-telegram.ts';

let fake: FakeTelegram;
let apiRoot: string;
const check = async (settings: { token?: string; webhookSecret?: string } = {}) =>
  await checkTelegram({
    token: settings.token ?? fake.token,
    apiRoot,
    webhookSecret: settings.webhookSecret,
  });

beforeEach(async () => {
  fake = await FakeTelegram.start();
  ({ apiRoot } = fake);
});
afterEach(async () => {
  await fake[Symbol.asyncDispose]();
});

test('the doctor says who the bot is, what it sees in groups and whether it has topics', async () => {
  expect(await check()).toEqual({
    name: 'Telegram',
    status: 'ok',
    detail:
      'connected as @switchyard_bot; privacy mode is on: in groups it sees what names it, answers it or is a command; private chats have no topics; updates are polled',
  });
  fake.state.readsAllGroupMessages = true;
  fake.state.hasTopics = true;
  expect((await check()).detail).toMatch(/privacy mode is off.*private chats have topics/);
});

test('the doctor names what keeps a web hook from being reached', async () => {
  fake.state.webhook.set({ url: 'https://bots.example/hooks/telegram/1', secret_token: 'x' });
  fake.state.webhook.proxyTo = 'http://127.0.0.1:1';
  fake.people.says(5, 5, 'hello');
  await expect.poll(async () => (await check({ webhookSecret: 'x' })).status).toBe('warn');
  expect(await check({ webhookSecret: 'x' })).toMatchObject({
    detail: expect.stringMatching(/updates come by web hook; 1 updates wait: Connection refused/),
    mend: expect.stringMatching(/SWITCHYARD_PUBLIC_URL/),
  });
});

test('a refused token, a server that is away and no token at all are told apart, and none names the token', async () => {
  const secret = 'AAWrongTokenButWellFormed_0123456789abc';
  expect(await check({ token: `700001:${secret}` })).toMatchObject({
    status: 'broken',
    detail: 'the token is refused: Unauthorized',
  });
  await fake.goDown();
  const away = await check({ token: `700001:${secret}` });
  expect(away).toMatchObject({ status: 'broken', mend: expect.stringMatching(/TELEGRAM_API_ROOT/) });
  expect(JSON.stringify(away)).not.toContain(secret);
  expect(await checkTelegram(undefined)).toMatchObject({ status: 'ok' });
});
