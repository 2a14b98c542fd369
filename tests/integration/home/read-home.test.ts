import { afterAll, beforeAll, expect, test } from 'vitest';
import { findApproval } from '#core/approvals/list-approvals.ts';
import { readPress } from '#core/approvals/read-press.ts';
import { requestApproval } from '#core/approvals/request-approval.ts';
import { readHome } from '#core/home/read-home.ts';
import { newId } from '#core/kit/ids.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Person, PersonRole } from '#core/people/person.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const chat: Conversation = { channel: 'telegram', account: 'bot', room: '42', kind: 'group' };
const home: Conversation = { channel: 'slack', account: '1-2', space: 'T1', room: 'D1', kind: 'dm' };
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function person(role: PersonRole): Promise<Person> {
  const id = await seedPerson(database, { name: role, role });
  return { id, displayName: role, role };
}

/** A turn that asks to run a command. */
async function ask(
  requesterId: string,
  options: { readonly summary: string; readonly risk?: 'low' | 'high' },
): Promise<string> {
  const sessionId = await seedSession(database, chat);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, waitingFor: 'approval', origin: chat });
  await database.query(`update turn set origin = origin || jsonb_build_object('personId', $2::text) where id = $1`, [
    turnId,
    requesterId,
  ]);
  const { approval } = await database.db.transaction().execute(
    async (tx) =>
      await requestApproval(tx, {
        sessionId,
        turnId,
        callId: 'call-1',
        agentName: 'coder',
        action: {
          tool: 'exec',
          arguments: { command: options.summary },
          permission: 'tool.exec',
          resource: options.summary,
        },
        summary: options.summary,
        risk: options.risk ?? 'low',
        requesterId,
        approvers: [['role:owner']],
        requesterMayApprove: false,
        conversation: chat,
        validMs: 600_000,
      }),
  );
  return approval.id;
}

const textOf = (body: OutboundBody): string => JSON.stringify(body.parts);
const buttonsOf = (body: OutboundBody) =>
  body.parts.flatMap((part) => (part.type === 'buttons' ? part.rows.flat() : []));

test('the page shows what a person may decide, on whichever channel it was asked, with buttons that work there', async () => {
  const owner = await person('owner');
  const member = await person('member');
  const id = await ask(member.id, { summary: 'make install' });
  const body = await readHome(database.db, owner, home);
  expect(textOf(body)).toContain('make install');
  const approve = buttonsOf(body).find(({ label }) => label === 'Approve');
  const read = await database.db
    .transaction()
    .execute(async (tx) => await readPress(tx, approve?.token ?? '', threadKey(home)));
  expect(read).toEqual({ kind: 'decision', approvalId: id });
  expect((await findApproval(database.db, id))?.state).toBe('pending');
});

test('whoever asked may deny it there, and not approve it', async () => {
  const member = await person('member');
  await ask(member.id, { summary: 'make clean' });
  const body = await readHome(database.db, member, home);
  expect(textOf(body)).toContain('make clean');
  expect(buttonsOf(body).map(({ label }) => label)).toEqual(['Deny']);
});

test('what is too long to be seen whole cannot be approved from the page', async () => {
  const owner = await person('owner');
  const member = await person('member');
  await ask(member.id, { summary: `long ${'x'.repeat(400)}` });
  const body = await readHome(database.db, owner, home);
  const at = body.parts.findIndex((part) => part.type === 'markdown' && part.markdown.includes('long xxx'));
  const next = body.parts[at + 1];
  expect(next?.type === 'buttons' ? next.rows.flat().map(({ label }) => label) : []).toEqual(['Deny']);
});

test('a member sees their own work and no costs, an owner all of both', async () => {
  const owner = await person('owner');
  const one = await person('member');
  const other = await person('member');
  await ask(other.id, { summary: 'of the other' });
  const mine = await readHome(database.db, one, home);
  expect(textOf(mine)).toContain('Nothing is running or waiting.');
  expect(textOf(mine)).not.toContain('Budgets');
  const all = await readHome(database.db, owner, home);
  expect(textOf(all)).toMatch(/waiting for approval.*\(telegram\)/);
  expect(textOf(all)).toContain('Budgets');
});
