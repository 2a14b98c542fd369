import { expect, test } from 'vitest';
import { httpBody, signedHeaders } from '../../fakes/slack/event-push.ts';
import { alice, repeatsSoon, room, SlackStage, standingClock } from './slack-stage.ts';

/** What is said of a signature's age holds however long a request takes. */
const clock = standingClock();

async function post(
  stage: SlackStage,
  options: {
    readonly secret?: string;
    readonly skewSeconds?: number;
    readonly body?: string;
    readonly signs?: boolean;
    readonly type?: string;
  } = {},
): Promise<Response> {
  const body = options.body ?? JSON.stringify({ type: 'url_verification', challenge: 'c0ffee' });
  const signature = signedHeaders(body, {
    secret: options.secret ?? stage.fake.signingSecret,
    nowMs: clock.now().getTime(),
    skewSeconds: options.skewSeconds ?? 0,
  });
  return await fetch(stage.hookUrl, {
    method: 'POST',
    body,
    headers: { 'content-type': options.type ?? 'application/json', ...(options.signs === false ? {} : signature) },
  });
}

test('the address proves itself to Slack', async () => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  const response = await post(stage);
  expect([response.status, await response.text()]).toEqual([200, 'c0ffee']);
});

test.each([
  ['another secret', { secret: 'ffffffffffffffffffffffffffffffff' }],
  ['no signature', { signs: false }],
  ['an old signature', { skewSeconds: -301 }],
  ['a signature from the future', { skewSeconds: 302 }],
])('a request with %s is refused and nothing is stored', async (_what, options) => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  const event = {
    type: 'event_callback',
    event_id: 'E1',
    event: { type: 'message', ts: '1.1', channel: 'C1', text: 'x', user: alice },
  };
  const response = await post(stage, { ...options, body: JSON.stringify(event) });
  expect(response.status).toBe(401);
  expect(stage.received).toEqual([]);
});

test('a refusal because of the clock says so to the operator', async () => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  await post(stage, { skewSeconds: -600 });
  await post(stage, { skewSeconds: 600 });
  const log = stage.lines.join('\n');
  expect(log).toMatch(/the clock of this machine is ahead/);
  expect(log).toMatch(/the clock of this machine is behind/);
});

test('a signature within five minutes either way is believed', async () => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  expect((await post(stage, { skewSeconds: -295 })).status).toBe(200);
  expect((await post(stage, { skewSeconds: 295 })).status).toBe(200);
});

test('a certificate check without a signature is answered and does nothing', async () => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  const body = 'ssl_check=1&command=%2Frun&text=evil&trigger_id=t&user_id=U1&channel_id=C1';
  const response = await post(stage, { signs: false, type: 'application/x-www-form-urlencoded', body });
  expect(response.status).toBe(200);
  expect(stage.received).toEqual([]);
});

test('what cannot be stored is answered with 503 and comes again', async () => {
  await using stage = await SlackStage.open({
    mode: 'http',
    fake: { limits: { ...repeatsSoon.limits, ackMs: 1_000 } },
  });
  stage.isDatabaseDown = true;
  stage.fake.people.mentions(room, alice, 'patience');
  const push = stage.fake.lastPush;
  await stage.until(() => push.statuses.includes(503));
  stage.isDatabaseDown = false;
  await stage.fake.waitFor(() => push.ackedAt !== undefined);
  expect(stage.texts).toEqual(['patience']);
});

test('before the channel runs and after it stopped requests are answered with 503', async () => {
  await using stage = await SlackStage.prepare({ mode: 'http', clock });
  const body = JSON.stringify({ type: 'event_callback', event_id: 'E1', event: { type: 'app_home_opened' } });
  expect((await post(stage, { body })).status).toBe(503);
  await stage.start();
  expect((await post(stage, { body })).status).toBe(200);
  await stage.stop();
  expect((await post(stage, { body })).status).toBe(503);
});

test('a body that is not JSON is refused', async () => {
  await using stage = await SlackStage.open({ mode: 'http', clock });
  expect((await post(stage, { body: '{"half' })).status).toBe(400);
});

test('commands and presses come through the same address', async () => {
  await using stage = await SlackStage.open({ mode: 'http' });
  stage.fake.people.slashCommand(room, alice, '/run', 'the tests');
  await stage.until(() => stage.events.length === 1);
  await stage.channel.send(
    stage.at(),
    { parts: [{ type: 'buttons', rows: [[{ label: 'Approve', token: 'v1.abc' }]] }] },
    'o1',
  );
  stage.fake.people.presses(alice, 'Approve');
  await stage.until(() => stage.events.length === 2);
  expect(stage.events).toMatchObject([
    { type: 'command', name: 'run', args: 'the tests' },
    { type: 'action', token: 'v1.abc' },
  ]);
  expect(httpBody(stage.fake.lastPush).type).toBe('application/x-www-form-urlencoded');
});
