import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { handleStuck, type StuckPolicy } from '#core/approvals/handle-stuck.ts';
import { findApproval } from '#core/approvals/list-approvals.ts';
import { requestApproval } from '#core/approvals/request-approval.ts';
import { approvalPress } from '#core/commands/approval-presses.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { setEndpoints } from '#core/webhooks/set-endpoints.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { ChatStage } from '#tests/support/chat-stage.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { HookServer, MailServer } from '#tests/support/outside.ts';
import { callOutside } from '#workers/upkeep/call-outside.ts';

let database: TestDatabase;
let stage: ChatStage;
let mail: MailServer;
let owner: string;
const log = pino({ level: 'silent' });
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-42', kind: 'group' };
const ownerDm: Conversation = { channel: 'slack', account: 'T1', room: 'D0WNER', kind: 'dm' };
const adminDm: Conversation = { channel: 'discord', account: 'app', room: '99', kind: 'dm' };
const never = new AbortController().signal;
const policy: StuckPolicy = {
  remindAfterMs: 60_000,
  escalateAfterMs: 120_000,
  escalateTo: ['@Ada', '@Nobody'],
  emails: ['oncall@example.org', 'boss@example.org'],
};

beforeAll(async () => {
  database = await openTestDatabase(10);
  stage = new ChatStage(database);
  mail = await MailServer.start();
  owner = await seedPerson(database, { name: 'Olga', role: 'owner', dm: ownerDm });
  await seedPerson(database, { name: 'Ada', role: 'admin', dm: adminDm });
});
afterAll(async () => {
  await mail[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.query("update approval set state = 'cancelled', decided_at = now() where state = 'pending'");
  await database.query('delete from outbox');
  await database.query('delete from outgoing');
  mail.mails.length = 0;
});

async function ask(): Promise<string> {
  const sessionId = await seedSession(database, group);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, waitingFor: 'approval', origin: group });
  const { approval } = await database.db.transaction().execute(
    async (tx) =>
      await requestApproval(tx, {
        sessionId,
        turnId,
        callId: 'call-1',
        agentName: 'coder',
        action: { tool: 'exec', arguments: {}, permission: 'tool.exec', resource: 'deploy --password hunter2' },
        summary: 'deploy --password hunter2',
        risk: 'high',
        approvers: [['role:owner']],
        requesterMayApprove: true,
        conversation: group,
        copies: [ownerDm],
        validMs: 3_600_000,
      }),
  );
  return approval.id;
}

async function age(approvalId: string, ms: number): Promise<void> {
  await database.query(
    'update approval set created_at = created_at - make_interval(secs => $2), expires_at = expires_at where id = $1',
    [approvalId, ms / 1000],
  );
}

async function sweep(given: StuckPolicy = policy): Promise<number> {
  const counts = await Promise.all(
    [1, 2, 3].map(async () => await handleStuck({ db: database.db, log }, given, never)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

async function post(): Promise<void> {
  const settings = { url: mail.url, from: 'switchyard@example.org' };
  await callOutside({ db: database.db, log, clock: systemClock, webhooks: [], mail: settings }, never);
}

test('nobody is reminded before the time, and a decided request is left alone', async () => {
  const id = await ask();
  expect(await sweep()).toBe(0);
  await database.query("update approval set state = 'cancelled', decided_at = now() where id = $1", [id]);
  await age(id, 90_000);
  expect(await sweep()).toBe(0);
});

test('a stuck request is reminded of once wherever it is shown, however many workers sweep', async () => {
  const id = await ask();
  await age(id, 90_000);
  expect(await sweep()).toBe(1);
  expect(await sweep()).toBe(0);
  for (const place of [group, ownerDm]) {
    const [first, reminder, ...others] = await stage.said(place);
    expect(first?.text).toMatch(/Reminded: \d\d:\d\d UTC/);
    expect(reminder?.text).toMatch(/^Still waiting since/);
    expect(reminder?.buttons.get('Approve')).toBeDefined();
    expect(others).toEqual([]);
  }
  expect((await findApproval(database.db, id))?.remindedAt).toBeInstanceOf(Date);
  expect(await stage.audit('approval.reminded')).toMatchObject([{ approvalId: id }]);
});

test('a reminder decides like the card, and every copy of both says so', async () => {
  const id = await ask();
  await age(id, 90_000);
  await sweep();
  const reminder = await stage.last(ownerDm);
  const token = reminder.buttons.get('Approve') ?? '';
  await approvalPress(stage.deps)(await stage.event(ownerDm, owner, { type: 'action', token }), token);
  const said = [...(await stage.said(group)), ...(await stage.said(ownerDm))];
  expect(said).toHaveLength(4);
  for (const message of said) expect(message.text).toContain('**Approved** by Olga');
});

test('what stays stuck goes to those it is escalated to and by e-mail, once, without the action itself', async () => {
  const id = await ask();
  await age(id, 150_000);
  expect(await sweep()).toBe(2);
  expect(await sweep()).toBe(0);
  const [escalation] = await stage.said(adminDm);
  expect(escalation?.text).toMatch(/^Nobody has decided since/);
  expect(escalation?.text).toContain('deploy --password hunter2');
  expect((await stage.said(group))[0]?.text).toMatch(/Escalated: /);

  mail.refusals = [{ code: 451, text: 'try later' }];
  await Promise.all([post(), post()]);
  expect(mail.mails).toHaveLength(1);
  await database.query('update outgoing set not_before = now()');
  await post();
  expect(mail.mails.map((one) => one.to[0]).sort()).toEqual(['boss@example.org', 'oncall@example.org']);
  for (const { source } of mail.mails) {
    expect(source).toMatch(/Subject: Approval waits: coder wants to use exec/);
    expect(source.replaceAll('=\r\n', '')).toContain(id);
    expect(source).not.toContain('hunter2');
  }
  const rows = await database.query('select state from outgoing');
  expect(rows).toEqual([{ state: 'delivered' }, { state: 'delivered' }]);
});

test('being told gives nobody the right to decide', async () => {
  const id = await ask();
  await age(id, 150_000);
  await sweep();
  const [escalation] = await stage.said(adminDm);
  const token = escalation?.buttons.get('Approve') ?? '';
  const [admin] = await database.query<{ id: string }>("select id from person where display_name = 'Ada'");
  await approvalPress(stage.deps)(await stage.event(adminDm, admin?.id ?? '', { type: 'action', token }), token);
  expect(stage.acknowledged.at(-1)?.text).toMatch(/^You may not decide this/);
  expect((await findApproval(database.db, id))?.state).toBe('pending');
});

test('each step is told to the web hooks as approval.stuck', async () => {
  await using hook = await HookServer.start();
  const endpoint = {
    url: hook.url,
    events: ['approval.stuck'] as const,
    secret: 'x'.repeat(32),
    allowsPrivate: true,
  };
  await setEndpoints({ db: database.db }, [endpoint]);
  const id = await ask();
  await age(id, 150_000);
  await sweep({ ...policy, emails: [] });
  await callOutside({ db: database.db, log, clock: systemClock, webhooks: [endpoint], mail: undefined }, never);
  const bodies = hook.calls.map((call) => JSON.parse(call.body) as { id: string; data: Record<string, unknown> });
  expect(bodies.map((body) => body.data['step']).sort()).toEqual(['escalated', 'reminded']);
  expect(bodies.every((body) => body.data['approvalId'] === id)).toBe(true);
  expect(hook.calls.map((call) => call.body).join()).not.toContain('hunter2');
  await setEndpoints({ db: database.db }, []);
});
