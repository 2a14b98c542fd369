import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkSlack } from '#app/doctor/check-slack.ts';
import { FakeSlack } from '../../fakes/slack/fake-slack.ts';

let fake: FakeSlack;
beforeEach(async () => {
  fake = await FakeSlack.start();
});
afterEach(async () => {
  await fake[Symbol.asyncDispose]();
});

function settings(
  rest: { readonly botToken?: string; readonly appToken?: string | undefined; readonly publicUrl?: string } = {},
) {
  const { botToken = fake.botToken, publicUrl } = rest;
  const appToken = 'appToken' in rest ? rest.appToken : fake.appToken;
  return { slack: { botToken, appToken, signingSecret: undefined, apiUrl: fake.apiUrl }, publicUrl };
}

test('without a token Slack is no finding', async () => {
  expect(await checkSlack({ slack: undefined, publicUrl: undefined })).toMatchObject({
    status: 'ok',
    detail: expect.stringContaining('not set up'),
  });
});

test('a working app says as whom it is connected and how', async () => {
  expect(await checkSlack(settings())).toEqual({
    name: 'Slack',
    status: 'ok',
    detail: 'connected as @switchyard in Workspace, by Socket Mode',
  });
});

test('web hooks need an address', async () => {
  expect(await checkSlack(settings({ appToken: undefined }))).toMatchObject({
    status: 'broken',
    mend: expect.stringContaining('SWITCHYARD_PUBLIC_URL'),
  });
  const reachable = settings({ appToken: undefined, publicUrl: 'https://agents.example.com' });
  expect(await checkSlack(reachable)).toMatchObject({ status: 'ok', detail: expect.stringContaining('by web hooks') });
});

test('a wrong bot token is told, and not shown', async () => {
  const finding = await checkSlack(settings({ botToken: 'xoxb-wrong-token' }));
  expect(finding).toMatchObject({ status: 'broken', detail: expect.stringContaining('invalid_auth') });
  expect(JSON.stringify(finding)).not.toContain('xoxb-wrong-token');
});

test('missing scopes are named one by one', async () => {
  fake.scopes.delete('files:write');
  fake.scopes.delete('im:history');
  expect(await checkSlack(settings())).toMatchObject({
    status: 'broken',
    detail: 'the bot token lacks the scopes files:write, im:history',
    mend: expect.stringContaining('slack manifest'),
  });
});

test('a wrong app token is told, and the connection’s address is not', async () => {
  fake.appTokenError = 'not_allowed_token_type';
  expect(await checkSlack(settings())).toMatchObject({
    status: 'broken',
    detail: expect.stringContaining('not_allowed_token_type'),
    mend: expect.stringContaining('connections:write'),
  });
  fake.appTokenError = undefined;
  expect(JSON.stringify(await checkSlack(settings()))).not.toContain('ticket');
});

test('a server that is away is told', async () => {
  const given = settings();
  await fake.goDown();
  expect(await checkSlack(given)).toMatchObject({
    status: 'broken',
    detail: expect.stringContaining('cannot be reached'),
  });
});
