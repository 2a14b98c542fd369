import { WebClient } from '@slack/web-api';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '#bots/slack/slack-api.ts';
import { FakeSlack } from '../../fakes/slack/fake-slack.ts';

const alice = 'U100ALICE';
/** Time goes on only as a test says. */
const start = Date.parse('2026-03-01T12:00:00Z');
let time = 0;
let fake: FakeSlack;
let client: WebClient;
let room: string;

beforeEach(async () => {
  time = 0;
  fake = await FakeSlack.start({ now: () => start + time, limits: { hasRates: true } });
  room = fake.people.channel('C1', [alice]);
  client = new WebClient(fake.botToken, {
    slackApiUrl: fake.apiUrl,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    logger: silentLogger,
  });
});
afterEach(async () => {
  await fake[Symbol.asyncDispose]();
});

async function errorOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'ok',
    (err: unknown) =>
      err instanceof Error && 'data' in err ? String((err.data as { error: string }).error) : String(err),
  );
}

const markdown = (length: number) => ({ type: 'markdown' as const, text: 'x'.repeat(length) });

test('an edit with more than 4,000 bytes of text is refused, however few characters it has', async () => {
  const { ts = '' } = await client.chat.postMessage({ channel: room, text: 'short' });
  expect(await errorOf(client.chat.update({ channel: room, ts, text: '字'.repeat(1_334) }))).toBe('msg_too_long');
  expect(await errorOf(client.chat.update({ channel: room, ts, text: 'a'.repeat(4_000) }))).toBe('ok');
});

test('blocks over the limits are refused with a pointer', async () => {
  expect(await errorOf(client.chat.postMessage({ channel: room, text: 't', blocks: [markdown(12_001)] }))).toBe(
    'msg_blocks_too_long',
  );
  const section = { type: 'section' as const, text: { type: 'mrkdwn' as const, text: 'x'.repeat(3_001) } };
  const refusal = await client.chat
    .postMessage({ channel: room, text: 't', blocks: [section] })
    .catch((err: unknown) => err);
  expect(JSON.stringify(refusal)).toContain('json-pointer:/blocks/0');
});

test('a stream ends by itself after five minutes and takes no more than 12,000 characters', async () => {
  const thread = fake.people.says(room, alice, 'root');
  const start = async (): Promise<string> => {
    const answer = await client.apiCall('chat.startStream', {
      channel: room,
      thread_ts: thread,
      recipient_user_id: alice,
      recipient_team_id: fake.world.teamId,
      markdown_text: '.',
    });
    return String((answer as unknown as { ts: string }).ts);
  };
  const append = async (ts: string, text: string) =>
    await errorOf(client.apiCall('chat.appendStream', { channel: room, ts, markdown_text: text }));
  const full = await start();
  expect(await append(full, 'x'.repeat(11_998))).toBe('ok');
  expect(await append(full, 'xx')).toBe('msg_too_long');
  const old = await start();
  time += 300_001;
  expect(await append(old, 'late')).toBe('message_not_in_streaming_state');
  expect(await errorOf(client.apiCall('chat.stopStream', { channel: room, ts: old }))).toBe(
    'message_not_in_streaming_state',
  );
  expect(
    await errorOf(client.apiCall('chat.startStream', { channel: room, thread_ts: thread, markdown_text: '.' })),
  ).toBe('missing_recipient');
});

test('calls over a method’s rate are refused until the minute is over', async () => {
  for (let call = 0; call < 20; call += 1) expect(await errorOf(client.usergroups.list())).toBe('ok');
  expect(await errorOf(client.usergroups.list())).toMatch(/rate.?limit/i);
  time += 60_001;
  expect(await errorOf(client.usergroups.list())).toBe('ok');
});

test('a trigger is good once and for three seconds', async () => {
  const view = {
    type: 'modal' as const,
    title: { type: 'plain_text' as const, text: 't' },
    submit: { type: 'plain_text' as const, text: 's' },
    close: { type: 'plain_text' as const, text: 'c' },
    blocks: [],
  };
  const trigger = fake.world.newTrigger();
  expect(await errorOf(client.views.open({ trigger_id: trigger, view }))).toBe('ok');
  expect(await errorOf(client.views.open({ trigger_id: trigger, view }))).toBe('exchanged_trigger_id');
  const late = fake.world.newTrigger();
  time += 3_001;
  expect(await errorOf(client.views.open({ trigger_id: late, view }))).toBe('expired_trigger_id');
});

test('tokens, scopes and membership are looked at', async () => {
  const stranger = new WebClient('xoxb-1-2-other', { slackApiUrl: fake.apiUrl, retryConfig: { retries: 0 } });
  expect(await errorOf(stranger.auth.test())).toBe('invalid_auth');
  fake.scopes.delete('chat:write');
  expect(await errorOf(client.chat.postMessage({ channel: room, text: 'x' }))).toBe('missing_scope');
  fake.scopes.add('chat:write');
  fake.people.changes(room, 'remove', alice);
  expect(await errorOf(client.chat.postMessage({ channel: room, text: 'x' }))).toBe('not_in_channel');
  expect(await errorOf(client.chat.postMessage({ channel: 'C404', text: 'x' }))).toBe('channel_not_found');
});

test('a home page that changed meanwhile is a conflict', async () => {
  fake.people.dm(alice);
  const view = { type: 'home' as const, blocks: [] };
  const first = await client.views.publish({ user_id: alice, view });
  await client.views.publish({ user_id: alice, view });
  expect(await errorOf(client.views.publish({ user_id: alice, view, hash: first.view?.hash ?? '' }))).toBe(
    'hash_conflict',
  );
});
