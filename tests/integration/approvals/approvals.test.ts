import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApprovalAction, actionDigest } from '#core/approvals/approval.ts';
import { cancelApprovals } from '#core/approvals/cancel-approvals.ts';
import { consumeApproval } from '#core/approvals/consume-approval.ts';
import { expireApprovals } from '#core/approvals/expire-approvals.ts';
import { findApproval, findApprovalOfCall, listApprovals } from '#core/approvals/list-approvals.ts';
import { type ApprovalRequest, type RequestedApproval, requestApproval } from '#core/approvals/request-approval.ts';
import {
  type ApprovalAnswer,
  describeOutcome,
  type SettleOutcome,
  settleApproval,
} from '#core/approvals/settle-approval.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import { readAudit } from '#core/audit/read-audit.ts';
import { verifyAudit } from '#core/audit/verify-audit.ts';
import type { Tx } from '#core/kit/database.ts';
import { newId } from '#core/kit/ids.ts';
import type { PersonRole } from '#core/people/person.ts';
import { findRemembered } from '#core/permissions/find-remembered.ts';
import { listGrants } from '#core/permissions/list-grants.ts';
import { revokeGrant } from '#core/permissions/revoke-grant.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { seedTurn } from '#tests/support/asking-turn.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

let database: TestDatabase;
const people = { owner: newId(), admin: newId(), member: newId(), other: newId(), disabled: newId() };
const chat: Conversation = { channel: 'telegram', account: 'bot', room: '42', kind: 'group' };
const never = new AbortController().signal;

beforeAll(async () => {
  database = await openTestDatabase(12);
  const roles: Record<keyof typeof people, PersonRole> = {
    owner: 'owner',
    admin: 'admin',
    member: 'member',
    other: 'member',
    disabled: 'owner',
  };
  for (const [name, role] of Object.entries(roles)) {
    await database.query('insert into person (id, display_name, role, disabled_at) values ($1, $2, $3, $4)', [
      people[name as keyof typeof people],
      name,
      role,
      name === 'disabled' ? new Date() : null,
    ]);
  }
  await database.query('insert into thread (thread_key, conversation) values ($1, $2)', [
    threadKey(chat),
    JSON.stringify(chat),
  ]);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

let sessions = 0;
async function newSession(): Promise<string> {
  const id = newId();
  await database.query('insert into session (id, thread_key, agent_name, origin) values ($1, $2, $3, $4)', [
    id,
    threadKey(chat),
    `agent-${sessions++}`,
    JSON.stringify(chat),
  ]);
  return id;
}

const action: ApprovalAction = {
  tool: 'exec',
  arguments: { command: 'make install' },
  workingDirectory: '/workspace',
  permission: 'tool.exec',
  resource: 'make install',
};

async function inTx<Result>(run: (tx: Tx) => Promise<Result>): Promise<Result> {
  return await database.db.transaction().execute(run);
}

async function ask(overrides: Partial<ApprovalRequest> = {}): Promise<RequestedApproval> {
  const request: ApprovalRequest = {
    sessionId: overrides.sessionId ?? (await newSession()),
    turnId: newId(),
    callId: 'call-1',
    agentName: 'coder',
    action,
    summary: 'Run make install',
    risk: 'medium',
    requesterId: people.member,
    approvers: [['role:owner', 'role:admin']],
    requesterMayApprove: true,
    conversation: chat,
    // Beyond the end of the slowest run: a request expires only where a test says so.
    validMs: 86_400_000,
    ...overrides,
  };
  await seedTurn(database, request);
  return await inTx(async (tx) => {
    const requested = await requestApproval(tx, request);
    await appendAudit(tx, requested.audit === undefined ? [] : [requested.audit]);
    return requested;
  });
}

let resumed: string[] = [];
async function answer(given: ApprovalAnswer): Promise<SettleOutcome> {
  return await inTx(
    async (tx) =>
      await settleApproval(tx, given, async (outcome) => {
        resumed.push(outcome.approval.id);
        await Promise.resolve();
      }),
  );
}

async function press(token: string | undefined, personId: string, thread = threadKey(chat)): Promise<SettleOutcome> {
  return await answer({ token: token ?? 'no token', personId, threadKey: thread, via: 'button' });
}

async function past(approvalId: string): Promise<void> {
  await database.query(
    "update approval set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where id = $1",
    [approvalId],
  );
}

test('a button approves once, resumes once, and a later press is told who was first', async () => {
  const { approval, tokens } = await ask();
  resumed = [];
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'settled', decision: 'approve' });
  const second = await press(tokens.deny, people.admin);
  expect(second).toMatchObject({ kind: 'already', approval: { state: 'approved', decidedByName: 'owner' } });
  expect(describeOutcome(second)).toMatch(/^This was already approved by owner at \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$/);
  expect(resumed).toEqual([approval.id]);
});

test('of many answers at the same time exactly one settles', async () => {
  const { approval, tokens } = await ask({ agentName: 'racer' });
  resumed = [];
  const outcomes = await Promise.all([
    press(tokens.approve, people.owner),
    press(tokens.approve, people.owner),
    press(tokens.deny, people.admin),
    press(tokens.always_agent, people.owner),
    answer({ approvalId: approval.id, decision: 'deny', personId: people.owner, via: 'cli' }),
  ]);
  const kinds = outcomes.map((outcome) => outcome.kind).sort();
  expect(kinds).toEqual(['already', 'already', 'already', 'already', 'settled']);
  expect(resumed).toHaveLength(1);
  expect(await database.query('select from approval_verdict where approval_id = $1', [approval.id])).toHaveLength(1);
});

test('an answer whose turn could not be resumed is undone as a whole', async () => {
  const { approval, tokens } = await ask();
  const failing = inTx(
    async (tx) =>
      await settleApproval(
        tx,
        { token: tokens.approve ?? '', personId: people.owner, threadKey: threadKey(chat), via: 'button' },
        async () => await Promise.reject(new Error('the lane is gone')),
      ),
  );
  await expect(failing).rejects.toThrow('the lane is gone');
  expect((await findApproval(database.db, approval.id))?.state).toBe('pending');
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'settled' });
});

test('who may not decide is refused and told who may: a stranger, a disabled person, a member', async () => {
  const { approval, tokens } = await ask();
  expect(await press(tokens.approve, newId())).toMatchObject({ kind: 'not_allowed', why: 'we do not know you' });
  expect(await press(tokens.approve, people.disabled)).toMatchObject({ kind: 'not_allowed' });
  const refused = await press(tokens.approve, people.other);
  expect(describeOutcome(refused)).toBe(
    'You may not decide this: it takes an owner or an administrator. It can be decided by an owner or an administrator.',
  );
  expect((await findApproval(database.db, approval.id))?.state).toBe('pending');
});

test('the requester may always take the request back, and may approve it only where the rules say so', async () => {
  const own = await ask();
  expect(await press(own.tokens.approve, people.member)).toMatchObject({ kind: 'not_allowed' });
  expect(await press(own.tokens.deny, people.member)).toMatchObject({ kind: 'settled', decision: 'deny' });
  const named = await ask({ approvers: [['requester']] });
  expect(await press(named.tokens.approve, people.owner)).toMatchObject({ kind: 'not_allowed' });
  expect(await press(named.tokens.approve, people.member)).toMatchObject({ kind: 'settled' });
  const fourEyes = await ask({ requesterId: people.owner, requesterMayApprove: false });
  expect(await press(fourEyes.tokens.approve, people.owner)).toMatchObject({ kind: 'not_allowed' });
  expect(await press(fourEyes.tokens.approve, people.admin)).toMatchObject({ kind: 'settled' });
});

test('where two grants name approvers, whoever decides must satisfy both', async () => {
  const { tokens } = await ask({ approvers: [['role:admin'], [`person:${people.owner}`]] });
  expect(await press(tokens.approve, people.admin)).toMatchObject({ kind: 'not_allowed' });
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'settled' });
});

test('a button works only in the chat it was shown in, and an unknown token does nothing', async () => {
  const { tokens } = await ask();
  expect(await press(tokens.approve, people.owner, 'telegram:bot:43:-')).toEqual({ kind: 'other_chat' });
  expect(await press('made-up', people.owner)).toEqual({ kind: 'unknown' });
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'settled' });
});

test('tokens are kept as hashes only', async () => {
  const { approval, tokens } = await ask();
  const rows = await database.query<{ token_hash: string }>(
    'select token_hash from action_token where approval_id = $1',
    [approval.id],
  );
  expect(rows).toHaveLength(5);
  const values = Object.values(tokens);
  expect(rows.some((row) => values.some((token) => row.token_hash.includes(token)))).toBe(false);
});

test('an expired request cannot be answered, and the sweep ends it once and resumes its turn once', async () => {
  const { approval, tokens } = await ask();
  await past(approval.id);
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'expired' });
  const seen: string[] = [];
  const sweep = async () =>
    await expireApprovals(
      { db: database.db },
      async (_tx, expired) => {
        seen.push(expired.id);
        await Promise.resolve();
      },
      never,
    );
  const counts = await Promise.all([sweep(), sweep(), sweep()]);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1);
  expect(seen).toEqual([approval.id]);
  expect((await findApproval(database.db, approval.id))?.state).toBe('expired');
  expect(await press(tokens.approve, people.owner)).toMatchObject({ kind: 'expired' });
});

test('an expiry whose turn could not be resumed is tried again', async () => {
  const { approval } = await ask();
  await past(approval.id);
  const failing = expireApprovals({ db: database.db }, async () => await Promise.reject(new Error('later')), never);
  await expect(failing).rejects.toThrow('later');
  expect((await findApproval(database.db, approval.id))?.state).toBe('pending');
  await expireApprovals({ db: database.db }, async () => await Promise.resolve(), never);
  expect((await findApproval(database.db, approval.id))?.state).toBe('expired');
});

test('asking again for the same call keeps the question, replaces its buttons and writes no second record', async () => {
  const request = { sessionId: await newSession(), turnId: newId() };
  const first = await ask(request);
  const second = await ask(request);
  expect(second).toMatchObject({ isNew: false, audit: undefined, approval: { id: first.approval.id } });
  expect(await press(first.tokens.approve, people.owner)).toEqual({ kind: 'unknown' });
  expect(await press(second.tokens.approve, people.owner)).toMatchObject({ kind: 'settled' });
});

test('another action under the same call cancels the old question, and leaves those of other calls alone', async () => {
  const request = { sessionId: await newSession(), turnId: newId() };
  const beside = await ask({ ...request, callId: 'call-2' });
  const first = await ask(request);
  const second = await ask({ ...request, action: { ...action, arguments: { command: 'make' }, resource: 'make' } });
  expect(await press(first.tokens.approve, people.owner)).toMatchObject({ kind: 'already' });
  expect(await findApprovalOfCall(database.db, request.turnId, 'call-1')).toMatchObject({ id: second.approval.id });
  expect(await listApprovals(database.db, { state: 'pending', sessionId: request.sessionId })).toMatchObject([
    { id: second.approval.id },
    { id: beside.approval.id },
  ]);
});

test('a cancelled turn cancels its questions, and their buttons say so', async () => {
  const { approval, tokens } = await ask();
  const cancelled = await inTx(
    async (tx) =>
      await cancelApprovals(tx, { turnId: approval.turnId }, 'stopped', async () => await Promise.resolve()),
  );
  expect(cancelled).toMatchObject([{ id: approval.id, state: 'cancelled', reason: 'stopped' }]);
  expect(describeOutcome(await press(tokens.approve, people.owner))).toMatch(/^This was already cancelled at /);
});

test('an approval is good for its exact action, once', async () => {
  const { approval, tokens } = await ask();
  const digest = actionDigest(action);
  expect(await consumeApproval(database.db, approval.id, digest)).toBe('not_approved');
  await press(tokens.approve, people.owner);
  const others = [
    { ...action, arguments: { command: 'make  install' } },
    { ...action, workingDirectory: '/workspace/x' },
    { ...action, tool: 'other' },
  ];
  for (const other of others) {
    expect(await consumeApproval(database.db, approval.id, actionDigest(other))).toBe('other_action');
  }
  const results = await Promise.all([1, 2, 3].map(async () => await consumeApproval(database.db, approval.id, digest)));
  expect(results.sort()).toEqual(['already_consumed', 'already_consumed', 'consumed']);
  expect(await consumeApproval(database.db, newId(), digest)).toBe('unknown');
});

test('the digest does not depend on the order in which arguments were written', () => {
  const one = { ...action, arguments: { a: 1, b: { c: 2, d: [3, 4] } } };
  const two = { ...action, arguments: { b: { d: [3, 4], c: 2 }, a: 1 } };
  expect(actionDigest(one)).toBe(actionDigest(two));
  expect(actionDigest({ ...action, arguments: { b: { d: [4, 3], c: 2 }, a: 1 } })).not.toBe(actionDigest(one));
});

test('"allow always" is remembered for its session or its agent, listed, and taken back', async () => {
  const forSession = await ask();
  const settled = await press(forSession.tokens.always_session, people.owner);
  expect(settled).toMatchObject({ kind: 'settled', rule: { subjectKind: 'session', resource: 'make install' } });
  const inSession = await findRemembered(database.db, 'coder', forSession.approval.sessionId);
  expect(inSession).toMatchObject([{ action: 'tool.exec', workingDirectory: '/workspace' }]);
  expect(await findRemembered(database.db, 'coder', newId())).toEqual([]);

  const forAgent = await ask({ agentName: 'builder' });
  await press(forAgent.tokens.always_agent, people.admin);
  const again = await ask({ agentName: 'builder' });
  await press(again.tokens.always_agent, people.admin);
  const rules = await listGrants(database.db, { subject: 'builder' });
  expect(rules).toMatchObject([{ subjectKind: 'agent', createdBy: people.admin, approvalId: forAgent.approval.id }]);
  await revokeGrant(database.db, rules[0]?.id ?? '', people.owner);
  expect(await findRemembered(database.db, 'builder', newId())).toEqual([]);
  await expect(revokeGrant(database.db, rules[0]?.id ?? '', people.owner)).rejects.toMatchObject({
    code: 'grant.missing',
  });
});

test('allowing for every session takes more than a member, and high risk is never offered for good', async () => {
  const byMember = await ask({ approvers: [['role:member']] });
  expect(await press(byMember.tokens.always_agent, people.other)).toMatchObject({ kind: 'not_allowed' });
  expect(await press(byMember.tokens.always_session, people.other)).toMatchObject({ kind: 'settled' });
  const risky = await ask({ risk: 'high' });
  expect(Object.keys(risky.tokens).sort()).toEqual(['approve', 'deny', 'deny_reason']);
  const forced = {
    approvalId: risky.approval.id,
    decision: 'always_agent',
    personId: people.owner,
    via: 'api',
  } as const;
  expect(await answer(forced)).toMatchObject({ kind: 'not_allowed' });
});

test('the schema itself refuses a second decision and a changed action', async () => {
  const { approval, tokens } = await ask();
  await press(tokens.deny, people.owner);
  await expect(database.query("update approval set state = 'approved' where id = $1", [approval.id])).rejects.toThrow(
    'stays so',
  );
  await expect(database.query("update approval set action = '{}' where id = $1", [approval.id])).rejects.toThrow(
    'cannot change',
  );
});

test('hostile arguments, summaries and reasons are stored', async () => {
  const { approval } = await ask({
    action: { ...action, arguments: { command: 'a\u0000b \ud800', 'k\u0000': 1 } },
    summary: 'x\u0000 \udfff',
  });
  const given = { approvalId: approval.id, decision: 'deny', personId: people.owner, via: 'cli' } as const;
  expect(await answer({ ...given, reason: `no\u0000 \ud800${'!'.repeat(5000)}` })).toMatchObject({ kind: 'settled' });
});

test('every request, refusal and answer is in the audit, which is whole', async () => {
  const { approval, tokens } = await ask();
  await press(tokens.approve, people.other);
  await press(tokens.approve, people.owner);
  const kinds = (await readAudit(database.db, approval.sessionId)).map(
    (record) => (record.body as { kind: string }).kind,
  );
  expect(kinds).toEqual(['approval.requested', 'approval.refused', 'approval.approved']);
  expect((await verifyAudit(database.db)).problems).toEqual([]);
});
