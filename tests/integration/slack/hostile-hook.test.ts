import { request } from 'node:http';
import { expect, test } from 'vitest';
import { signedHeaders } from '../../fakes/slack/event-push.ts';
import { SlackStage } from './slack-stage.ts';

const formType = 'application/x-www-form-urlencoded';

async function post(stage: SlackStage, body: string, headers: Record<string, string>): Promise<number> {
  return (await fetch(stage.hookUrl, { method: 'POST', body, headers })).status;
}

const signed = (stage: SlackStage, body: string): Record<string, string> =>
  signedHeaders(body, { secret: stage.fake.signingSecret, nowMs: Date.now(), skewSeconds: 0 });

test('megabytes that pretend to be a certificate check are refused without being taken apart', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  const body = `ssl_check=1&${'a&'.repeat(1_900_000)}`;
  // A real check is answered with 200; this one is not even read as a form.
  expect(await post(stage, body, { 'content-type': formType })).toBe(401);
});

test('more than four megabytes are refused before they are read', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  expect(await post(stage, 'a'.repeat(4 * 1024 * 1024 + 1), { 'content-type': formType })).toBe(413);
});

test('a body that was written anew on its way is refused, however much it means the same', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  const body = 'command=%2Frun&text=a%20b&user_id=U1&team_id=T1&channel_id=C1&trigger_id=1.1';
  const headers = { ...signed(stage, body), 'content-type': formType };
  for (const other of [body.replace('%20', '+'), `${body}\n`, body.replace('%2F', '%2f'), ` ${body}`]) {
    expect(await post(stage, other, headers)).toBe(401);
  }
  expect(stage.received).toEqual([]);
});

test('an address proof without a signature is no proof', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  const body = JSON.stringify({ type: 'url_verification', challenge: 'c0ffee' });
  expect(await post(stage, body, { 'content-type': 'application/json' })).toBe(401);
});

test.each([
  ['half of the signature', { 'x-slack-signature': 'v0=abc' }],
  ['a signature of another version', { 'x-slack-signature': `v1=${'0'.repeat(64)}` }],
  ['no time', { 'x-slack-request-timestamp': '' }],
  ['a time that is no number', { 'x-slack-request-timestamp': '1e9' }],
  ['a time with a sign', { 'x-slack-request-timestamp': '-1700000000' }],
  ['a time of centuries ahead', { 'x-slack-request-timestamp': '99999999999' }],
])('a request with %s is refused', async (_what, headers) => {
  await using stage = await SlackStage.open({ mode: 'http' });
  const body = JSON.stringify({ type: 'event_callback', event_id: 'E1', event: { type: 'app_home_opened' } });
  expect(await post(stage, body, { ...signed(stage, body), 'content-type': 'application/json', ...headers })).toBe(401);
  expect(stage.received).toEqual([]);
});

test('a second signature header does not count beside the first', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  const body = JSON.stringify({ type: 'url_verification', challenge: 'c0ffee' });
  const { 'x-slack-signature': good = '', ...others } = signed(stage, body);
  const status = await new Promise<number>((resolve, reject) => {
    const sent = request(
      stage.hookUrl,
      {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...others,
          'x-slack-signature': [`v0=${'0'.repeat(64)}`, good],
        },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
  expect(status).toBe(401);
});
