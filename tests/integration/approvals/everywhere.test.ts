import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ApprovalAction } from '#core/approvals/approval.ts';
import { cancelSessionWork } from '#core/approvals/cancel-session-work.ts';
import { findCopies } from '#core/approvals/find-copies.ts';
import { findApproval } from '#core/approvals/list-approvals.ts';
import { type ApprovalRequest, type RequestedApproval, requestApproval } from '#core/approvals/request-approval.ts';
import { refreshCards } from '#core/approvals/show-approval.ts';
import { approvalCommands, approvalDecisions } from '#core/commands/approval-commands.ts';
import { approvalPress, strayPress } from '#core/commands/approval-presses.ts';
import { createRunCommand } from '#core/commands/command.ts';
import { createPress } from '#core/commands/press.ts';
import { createTakeAnswer, createTakeForm } from '#core/commands/take-words.ts';
import { newId } from '#core/kit/ids.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { ChatStage, type Said } from '#tests/support/chat-stage.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

let database: TestDatabase;
let stage: ChatStage;
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-42', kind: 'group' };
const otherGroup: Conversation = { channel: 'discord', account: 'app', room: '77', kind: 'channel' };
const ownerDm: Conversation = { channel: 'slack', account: 'T1', room: 'D0WNER', kind: 'dm' };
const memberDm: Conversation = { channel: 'telegram', account: 'bot', room: '7', kind: 'dm' };
let owner: string;
let member: string;
let stranger: string;

beforeAll(async () => {
  database = await openTestDatabase(10);
  owner = await seedPerson(database, { name: 'Olga', role: 'owner', dm: ownerDm });
  member = await seedPerson(database, { name: 'Mia', role: 'member', dm: memberDm });
  stranger = await seedPerson(database, { name: 'Sam', role: 'member' });
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.query("update approval set state = 'cancelled', decided_at = now() where state = 'pending'");
  await database.query('delete from outbox');
  stage = new ChatStage(database);
});

const action: ApprovalAction = {
  tool: 'exec',
  arguments: { command: 'make install' },
  permission: 'tool.exec',
  resource: 'make install',
};

/** A member asks in a group; whoever may decide is somewhere else. */
async function ask(overrides: Partial<ApprovalRequest> = {}): Promise<RequestedApproval> {
  const conversation = overrides.conversation ?? group;
  const sessionId = await seedSession(database, conversation);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, waitingFor: 'approval', origin: conversation });
  const rules = {
    risk: 'medium',
    requesterId: member,
    approvers: [['role:owner']],
    requesterMayApprove: true,
    ...overrides,
  } as const;
  const copies = await findCopies(database.db, rules, undefined);
  return await database.db.transaction().execute(
    async (tx) =>
      await requestApproval(tx, {
        sessionId,
        turnId,
        callId: 'call-1',
        agentName: 'coder',
        action,
        summary: 'make install',
        conversation,
        copies,
        validMs: 86_400_000,
        ...rules,
        ...overrides,
      }),
  );
}

async function press(place: Conversation, personId: string, token: string | undefined): Promise<string> {
  const handle = createPress([approvalPress(stage.deps), strayPress(stage.deps)]);
  await handle(
    await stage.event(place, personId, { type: 'action', token: token ?? 'no such button' }),
    token ?? 'none',
  );
  return stage.acknowledged.at(-1)?.text ?? '';
}

async function says(place: Conversation, personId: string, text: string, replyToId?: string): Promise<boolean> {
  const deed = { type: 'message' as const, text, ...(replyToId === undefined ? {} : { replyToId }) };
  return await createTakeAnswer(stage.deps)(await stage.event(place, personId, deed));
}

async function command(place: Conversation, personId: string, name: string, args = ''): Promise<void> {
  const run = createRunCommand(stage.deps, approvalCommands(stage.deps), approvalDecisions(stage.deps));
  await run(await stage.event(place, personId, { type: 'command', name, args }), name, args);
}

async function card(place: Conversation): Promise<Said> {
  const found = (await stage.said(place)).find((said) => said.key.startsWith('approval:'));
  if (found === undefined) throw new Error('there is no card');
  return found;
}

async function stateOf(asked: RequestedApproval): Promise<string | undefined> {
  return (await findApproval(database.db, asked.approval.id))?.state;
}

test('who may decide gets a copy on their own channel, and its decision shows on every copy', async () => {
  const asked = await ask();
  const copy = await card(ownerDm);
  expect(copy.text).toContain('asks from a telegram group');
  expect(copy.text).toContain('make install');
  expect(await press(ownerDm, owner, copy.buttons.get('Approve'))).toBe('Approved.');
  for (const place of [ownerDm, group]) {
    const shown = await card(place);
    expect(shown.text).toMatch(/\*\*Approved\*\* by Olga at \d\d:\d\d UTC/);
    expect(shown.buttons.size).toBe(0);
  }
  expect(stage.rung).toMatchObject([{ sessionId: asked.approval.sessionId }]);
  // The group's own button is still on somebody's screen.
  expect(await press(group, owner, asked.tokens.deny)).toMatch(/^This was already approved by Olga at /);
  expect(stage.acknowledged.at(-1)?.isAlert).toBe(true);
});

test('nobody else is written to when whoever asked may decide it', async () => {
  await ask({ requesterId: owner });
  expect(await stage.said(ownerDm)).toEqual([]);
  const rules = { requesterId: owner, approvers: [['role:owner']], requesterMayApprove: true, risk: 'low' } as const;
  expect(await findCopies(database.db, rules, undefined)).toEqual([]);
  await seedSession(database, otherGroup);
  expect(await findCopies(database.db, rules, ['discord:77', '@Mia'])).toEqual([otherGroup, memberDm]);
  expect(await findCopies(database.db, { ...rules, requesterId: member }, ['approvers'])).toEqual([ownerDm]);
});

test('who may not approve what they asked for themselves has it shown to the others who may', async () => {
  const adminDm: Conversation = { channel: 'discord', account: 'app', room: '5', kind: 'dm' };
  const admin = await seedPerson(database, { name: 'Ada', role: 'admin', dm: adminDm });
  const rules = { requesterId: owner, approvers: [['role:admin']], requesterMayApprove: false, risk: 'low' } as const;
  expect(await findCopies(database.db, rules, undefined)).toEqual([adminDm]);
  const asked = await ask({ ...rules, conversation: ownerDm });
  expect(await press(ownerDm, owner, asked.tokens.approve)).toMatch(/whoever asked for it may not approve it/);
  expect(await press(adminDm, admin, (await card(adminDm)).buttons.get('Approve'))).toBe('Approved.');
  await database.query('update person set disabled_at = now() where id = $1', [admin]);
});

test('a button of a copy works in no other chat, and the attempt is on the audit', async () => {
  const asked = await ask();
  const copy = await card(ownerDm);
  expect(await press(group, owner, copy.buttons.get('Approve'))).toBe('This button belongs to another chat.');
  expect(await press(ownerDm, owner, 'made-up')).toBe('This request is not known any more.');
  expect(await stateOf(asked)).toBe('pending');
  const strays = await stage.audit('approval.stray_press');
  expect(strays.map((body) => body['why'])).toEqual(expect.arrayContaining(['other_chat', 'unknown']));
});

test('who may not decide is told alone, the buttons stay and the refusal is on the audit', async () => {
  const asked = await ask();
  expect(await press(group, stranger, asked.tokens.approve)).toMatch(/^You may not decide this: it takes an owner/);
  expect(stage.acknowledged.at(-1)?.isAlert).toBe(true);
  expect((await card(group)).buttons.size).toBeGreaterThan(0);
  expect(await stage.audit('approval.refused')).toContainEqual(expect.objectContaining({ personId: stranger }));
  expect(await press(group, stranger, asked.tokens.deny_reason)).toMatch(/^You may not decide this/);
});

test('"deny with reason" asks in a form, and the reason is on every card', async () => {
  stage.hasForms = true;
  const asked = await ask();
  const copy = await card(ownerDm);
  await press(ownerDm, owner, copy.buttons.get('Deny with reason'));
  const form = stage.forms[0];
  expect(form).toMatchObject({ title: 'Deny', fields: [{ name: 'words', isRequired: false }] });
  expect(await stateOf(asked)).toBe('pending');
  const submit = async (personId: string): Promise<void> => {
    const values = { words: 'not on a Friday' };
    const event = await stage.event(ownerDm, personId, { type: 'form', token: form?.token ?? '', values });
    await createTakeForm(stage.deps)(event);
  };
  await submit(stranger);
  expect(stage.acknowledged.at(-1)).toEqual({ text: 'That is not asked any more.', isAlert: true });
  await submit(owner);
  expect((await card(group)).text).toMatch(/\*\*Denied\*\* by Olga at .*: not on a Friday/);
  await submit(owner);
  expect(stage.acknowledged.at(-1)?.text).toBe('That is not asked any more.');
});

test('without a form, the reason is the reply to a line, or in private the next message', async () => {
  const asked = await ask();
  await press(group, owner, asked.tokens.deny_reason);
  const line = await stage.last(group);
  expect(line.body.asksReply).toBe(true);
  await stage.deliver();
  expect(await says(group, owner, 'just chatting')).toBe(false);
  expect(await says(group, stranger, 'because', line.key)).toBe(false);
  expect(await says(group, owner, 'it breaks the build', line.key)).toBe(true);
  expect((await card(group)).text).toContain('by Olga');
  expect((await card(group)).text).toContain('it breaks the build');

  const second = await ask();
  await press(ownerDm, owner, (await cardOf(ownerDm, second)).buttons.get('Deny with reason'));
  expect(await says(ownerDm, owner, 'too dear')).toBe(true);
  expect((await cardOf(group, second)).text).toContain('too dear');
});

test('a line is forgotten after five minutes, so that a late message is only a message', async () => {
  await ask();
  await press(ownerDm, owner, (await card(ownerDm)).buttons.get('Deny with reason'));
  await database.query(
    "update answer_prompt set created_at = created_at - interval '1 h', expires_at = expires_at - interval '5 min 1 s'",
  );
  expect(await says(ownerDm, owner, 'something else')).toBe(false);
});

async function cardOf(place: Conversation, asked: RequestedApproval): Promise<Said> {
  const found = (await stage.said(place)).find((said) => said.key.startsWith(`approval:${asked.approval.id}`));
  if (found === undefined) throw new Error('there is no card');
  return found;
}

test('a reply to a card that begins with approve or deny decides it; any other reply is a message', async () => {
  const asked = await ask();
  await stage.deliver();
  const copy = await card(ownerDm);
  expect(await says(ownerDm, owner, 'what is this?', copy.key)).toBe(false);
  expect(await says(ownerDm, owner, 'Deny: not before the backup', copy.key)).toBe(true);
  expect(await findApproval(database.db, asked.approval.id)).toMatchObject({
    state: 'denied',
    reason: 'not before the backup',
  });
});

test('/approvals lists every channel in private and only its own room in a group, and keeps up to date', async () => {
  const one = await ask();
  const two = await ask({ conversation: otherGroup, summary: 'rm -rf build' });
  await command(ownerDm, owner, 'approvals');
  const list = await stage.last(ownerDm);
  expect(list.text).toContain('make install');
  expect(list.text).toContain('rm -rf build');
  expect([...list.buttons.keys()]).toEqual(['Approve 1', 'Deny 1', 'Approve 2', 'Deny 2', 'Approve all 2']);
  expect(await press(ownerDm, owner, list.buttons.get('Deny 2'))).toBe('Denied.');
  const after = await stage.last(ownerDm);
  expect(after.key).toBe(list.key);
  expect(after.text).toMatch(/rm -rf build.*\*\*denied\*\* by Olga/);
  expect([...after.buttons.keys()]).toEqual(['Approve 1', 'Deny 1']);
  expect(await stateOf(one)).toBe('pending');
  expect(await stateOf(two)).toBe('denied');

  await command(otherGroup, owner, 'approvals');
  expect((await stage.last(otherGroup)).text).toBe(
    'Nothing waits for a decision here. 1 elsewhere; ask me in private.',
  );
  await command(memberDm, member, 'approvals');
  const own = await stage.last(memberDm);
  expect([...own.buttons.keys()]).toEqual(['Deny 1']);
});

test('"approve all" asks first, approves each by itself, and is nobody else’s to press', async () => {
  const first = await ask();
  const second = await ask({ summary: 'make test' });
  const long = await ask({ summary: 'x'.repeat(400) });
  await command(ownerDm, owner, 'approvals');
  const list = await stage.last(ownerDm);
  expect(await press(ownerDm, member, list.buttons.get('Approve all 2'))).toMatch(/^This list is somebody else’s/);
  await press(ownerDm, owner, list.buttons.get('Approve all 2'));
  const confirming = await stage.last(ownerDm);
  expect(confirming.text).toContain('Approve all 2?');
  expect(await stateOf(first)).toBe('pending');
  await press(ownerDm, owner, confirming.buttons.get('No'));
  expect([...(await stage.last(ownerDm)).buttons.keys()]).toContain('Approve all 2');
  expect(await press(ownerDm, owner, confirming.buttons.get('Yes, approve 2'))).toBe('Approved 2.');
  expect([await stateOf(first), await stateOf(second), await stateOf(long)]).toEqual([
    'approved',
    'approved',
    'pending',
  ]);
});

test('/approve and /deny take several ids or all, and report each', async () => {
  const asked = [await ask(), await ask(), await ask()];
  const ids = asked.map(({ approval }) => approval.id);
  await press(group, owner, asked[1]?.tokens.deny);
  await command(ownerDm, owner, 'approve', `${ids[0]} ${ids[1]} both are fine`);
  const report = (await stage.last(ownerDm)).text;
  expect(report).toMatch(/^Approved 1 of 2:/);
  expect(report).toContain('already denied by Olga');
  expect((await findApproval(database.db, ids[0] ?? ''))?.reason).toBe('both are fine');
  await command(ownerDm, owner, 'deny', 'all freeze');
  expect(await findApproval(database.db, ids[2] ?? '')).toMatchObject({ state: 'denied', reason: 'freeze' });
  await expect(command(ownerDm, owner, 'approve', 'all')).rejects.toMatchObject({ code: 'approval.unknown' });
});

test('a second routing of the same press changes nothing', async () => {
  const asked = await ask();
  const token = asked.tokens.approve ?? '';
  const event = await stage.event(group, owner, { type: 'action', token });
  const handle = createPress([approvalPress(stage.deps), strayPress(stage.deps)]);
  await handle(event, token);
  await handle(event, token);
  expect(stage.acknowledged).toHaveLength(1);
});

test('an expired or stopped request answers its old buttons properly and shows no new ones', async () => {
  const asked = await ask();
  await database.query(
    "update approval set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where id = $1",
    [asked.approval.id],
  );
  expect(await press(group, owner, asked.tokens.approve)).toMatch(/^This request expired at /);
  const stopped = await ask();
  await database.db.transaction().execute(async (tx) => await cancelSessionWork(tx, stopped.approval.sessionId));
  expect(await press(ownerDm, owner, stopped.tokens.approve)).toBe('This button belongs to another chat.');
  expect(await press(group, owner, stopped.tokens.approve)).toMatch(/^This was already cancelled at /);
  expect((await cardOf(ownerDm, stopped)).text).toContain('Cancelled');
  expect((await cardOf(ownerDm, stopped)).buttons.size).toBe(0);
});

test('buttons of an earlier rendering stay good until the request is settled', async () => {
  const asked = await ask();
  await database.db.transaction().execute(async (tx) => await refreshCards(tx, [asked.approval]));
  expect(await press(group, owner, asked.tokens.approve)).toBe('Approved.');
});
