import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseAgent } from '#core/agents/parse-agent.ts';
import { settleApproval } from '#core/approvals/settle-approval.ts';
import { systemClock } from '#core/kit/clock.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage } from '#tests/support/routing-stage.ts';
import { execTool } from '#workers/tools/exec.ts';
import { moveFileTool } from '#workers/tools/move-file.ts';
import type { ToolClaim } from '#workers/tools/tool.ts';
import { createGate } from '#workers/turn/gate.ts';
import type { Gate, TurnWork } from '#workers/turn/turn-deps.ts';

let stage: RoutingStage;
let work: TurnWork;
const dm: Conversation = { channel: 'telegram', account: 'bot', room: 'olga', kind: 'dm' };

beforeEach(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm, { name: 'olga' }, 'owner');
  await stage.says(dm, { name: 'olga' }, 'tidy up');
  const [turn] = await stage.database.query<{ id: string; session_id: string; origin: TurnWork['origin'] }>(
    'select id, session_id, origin from turn where seq = 1',
  );
  if (turn === undefined) throw new Error('no turn');
  work = {
    turnId: turn.id,
    sessionId: turn.session_id,
    kind: 'message',
    agentName: 'chief',
    agentVersion: '1',
    origin: turn.origin,
    messages: [],
    attempts: 1,
    crashes: 0,
  };
});
afterEach(async () => await stage[Symbol.asyncDispose]());

function gateWith(
  grants: string,
): (args: { source: string; destination: string; overwrite?: boolean }, callKey?: string) => ReturnType<Gate> {
  const file = `---\nname: chief\ndescription: Moves things.\nautonomy: autonomous\ngrants:\n${grants}\n---\nWork.`;
  const { profile: agent, problems } = parseAgent(file, 'chief.md');
  if (agent === undefined) throw new Error(`the agent file is wrong: ${JSON.stringify(problems)}`);
  const gate = createGate({
    db: stage.database.db,
    clock: systemClock,
    rolePolicies: compileRolePolicies(),
    notify: undefined,
  });
  const tool = moveFileTool();
  return async (args, callKey = 'call-1') => await gate({ agent, work, tool, callKey, args, claim: tool.claim(args) });
}

const move = { source: 'a.txt', destination: 'b.txt' };
const everything = '  - allow: [file.read, file.write, file.delete]\n    on: /workspace/**';

describe('a call that does several things', () => {
  test('is allowed when every one of them is', async () => {
    expect(await gateWith(everything)(move)).toEqual({ effect: 'allow' });
  });

  test.each([
    ['what is written', '  - deny: file.write\n    on: b.txt'],
    ['what is read', '  - deny: file.read\n    on: a.txt'],
    ['what is gone', '  - deny: file.delete\n    on: a.txt'],
    ['a path with points and slashes', '  - deny: file.read\n    on: /workspace/a.txt'],
  ])('is denied for %s alone', async (_, deny) => {
    const decided = await gateWith(`${everything}\n${deny}`)(move);
    expect(decided).toMatchObject({ effect: 'deny', reason: expect.stringContaining('chief.md') });
    const dotted = { source: './x/../a.txt', destination: '/workspace/./y/../b.txt' };
    expect(await gateWith(`${everything}\n${deny}`)(dotted)).toMatchObject({ effect: 'deny' });
  });

  test('is denied when no grant covers one of them', async () => {
    const grants = '  - allow: [file.read, file.write]\n    on: /workspace/**';
    expect(await gateWith(grants)(move)).toMatchObject({ effect: 'deny', reason: expect.stringContaining('delete') });
    expect(await gateWith(everything)({ source: '../etc/passwd', destination: 'b' })).toMatchObject({ effect: 'deny' });
    expect(await gateWith(everything)({ source: 'a', destination: '/etc/cron.d/x' })).toMatchObject({ effect: 'deny' });
  });

  test('needs the right to replace only when it replaces', async () => {
    const grants = `${everything}\n  - deny: file.delete\n    on: b.txt`;
    expect(await gateWith(grants)(move)).toEqual({ effect: 'allow' });
    expect(await gateWith(grants)({ ...move, overwrite: true })).toMatchObject({ effect: 'deny' });
  });

  test('writes a decision for each of them to the audit', async () => {
    await gateWith(everything)(move);
    const rows = await stage.database.query<{ action: string; resource: string }>(
      `select body ->> 'action' as action, body ->> 'resource' as resource
       from audit_body b where body ->> 'callId' = 'call-1' order by 1`,
    );
    expect(rows).toEqual([
      { action: 'file.delete', resource: 'a.txt' },
      { action: 'file.read', resource: 'a.txt' },
      { action: 'file.write', resource: 'b.txt' },
    ]);
  });
});

describe('one approval for all of it', () => {
  const asking = `${everything}\n  - ask: file.delete`;

  async function approve(approvalId: string, decision: 'approve' | 'always_session' = 'approve') {
    const [olga] = await stage.database.query<{ id: string }>('select id from person limit 1');
    return await stage.database.db
      .transaction()
      .execute(async (tx) =>
        settleApproval(tx, { personId: olga?.id ?? '', via: 'cli', approvalId, decision }, async () => undefined),
      );
  }

  test('is asked for when one part is, and spent by exactly this call', async () => {
    const gate = gateWith(asking);
    const asked = await gate(move);
    if (asked.effect !== 'wait') throw new Error(`not asked: ${JSON.stringify(asked)}`);
    expect(asked.summary).toBe('Move a.txt to b.txt');
    const [row] = await stage.database.query<{ action: unknown }>('select action from approval');
    expect(row?.action).toMatchObject({
      permission: 'file.write',
      resource: 'b.txt',
      also: [
        { permission: 'file.read', resource: 'a.txt' },
        { permission: 'file.delete', resource: 'a.txt' },
      ],
    });
    expect((await approve(asked.approvalId)).kind).toBe('settled');
    // The same call with another source: the approval is worth nothing for it.
    expect(await gate({ ...move, source: 'other.txt' })).toMatchObject({ effect: 'wait' });
    expect(await gate(move, 'call-2')).toMatchObject({ effect: 'wait' });
  });

  test('lets the approved call through once', async () => {
    const gate = gateWith(asking);
    const asked = await gate(move);
    if (asked.effect !== 'wait') throw new Error('not asked');
    await approve(asked.approvalId);
    expect(await gate(move)).toEqual({ effect: 'allow' });
    expect(await gate(move)).toMatchObject({ effect: 'deny', reason: expect.stringContaining('Outcome unknown') });
  });

  test('is not to be had for good, because each part would then be allowed alone', async () => {
    const asked = await gateWith(asking)(move);
    if (asked.effect !== 'wait') throw new Error('not asked');
    expect(await approve(asked.approvalId, 'always_session')).toMatchObject({
      kind: 'not_allowed',
      why: expect.stringContaining('several things'),
    });
    const cards = await stage.database.query<{ body: unknown }>(`select body from outbox where key like 'approval:%'`);
    const shown = JSON.stringify(cards);
    expect(shown).toContain('Approve');
    expect(shown).not.toContain('Always');
  });

  test('takes somebody who may decide every part that is asked for', async () => {
    const grants =
      '  - ask: file.write\n    to: role:owner\n  - ask: file.delete\n    to: person:0193a000-0000-7000-8000-000000000001\n  - allow: file.read';
    const asked = await gateWith(grants)(move);
    if (asked.effect !== 'wait') throw new Error('not asked');
    expect(await approve(asked.approvalId)).toMatchObject({ kind: 'not_allowed' });
  });
});

test('a claim without further parts is asked for as before, and may be had for good', async () => {
  const claim: ToolClaim = { action: 'file.write', resource: 'b.txt', risk: 'medium', summary: 'Write b.txt' };
  const { profile: agent } = parseAgent(
    '---\nname: chief\ndescription: x.\ngrants:\n  - ask: file.write\n---\nWork.',
    'chief.md',
  );
  if (agent === undefined) throw new Error('the agent file is wrong');
  const gate = createGate({
    db: stage.database.db,
    clock: systemClock,
    rolePolicies: compileRolePolicies(),
    notify: undefined,
  });
  const decided = await gate({ agent, work, tool: moveFileTool(), callKey: 'c', args: {}, claim });
  expect(decided.effect).toBe('wait');
  const [row] = await stage.database.query<{ action: object }>('select action from approval');
  expect(row?.action).not.toHaveProperty('also');
});

test('what is given input of its own is settled by no earlier answer', async () => {
  const [olga] = await stage.database.query<{ id: string }>('select id from person limit 1');
  await stage.database.query(
    `insert into grant_rule (id, effect, subject_kind, subject, action, resource, created_by)
     values (gen_random_uuid(), 'allow', 'agent', 'chief', 'tool.exec', 'bash', '${olga?.id}')`,
  );
  const { profile: agent } = parseAgent(
    '---\nname: chief\ndescription: x.\nautonomy: autonomous\ngrants:\n  - ask: tool.exec\n---\nWork.',
    'chief.md',
  );
  if (agent === undefined) throw new Error('the agent file is wrong');
  const gate = createGate({
    db: stage.database.db,
    clock: systemClock,
    rolePolicies: compileRolePolicies(),
    notify: undefined,
  });
  const tool = execTool();
  const decide = async (args: { command: string; stdin?: string }, callKey: string) =>
    (await gate({ agent, work, tool, callKey, args, claim: tool.claim(args) })).effect;
  expect(await decide({ command: 'bash' }, 'c1')).toBe('allow');
  expect(await decide({ command: 'bash', stdin: 'rm -rf build' }, 'c2')).toBe('wait');
});
