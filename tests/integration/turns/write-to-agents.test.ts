import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AgentDirectory, openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { sendBroadcast } from '#core/broadcast/send-broadcast.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { type Conversation, type Origin, originSchema } from '#core/sessions/origin.ts';
import { type TurnPayload, turnPayloadSchema } from '#core/turns/turn-event.ts';
import { gateVerdict, mightyAgent } from '#tests/support/gate-verdict.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';
import { notifyTool } from '#workers/tools/notify.ts';
import type { Tool, ToolClaim, ToolResult } from '#workers/tools/tool.ts';

const group: Conversation = { channel: 'telegram', account: 'bot', room: '-100', kind: 'group' };
const dm = (name: string): Conversation => ({ channel: 'telegram', account: 'bot', room: name, kind: 'dm' });
const olga: Somebody = { name: 'olga' };
const mia: Somebody = { name: 'mia' };

let stage: RoutingStage;
let agents: AgentDirectory;
let rung: LaneWake[];
let tool: Tool<{ to: string; text: string }>;

beforeEach(async () => {
  stage = await RoutingStage.open();
  agents = openAgentDirectory({ db: stage.database.db, clock: systemClock });
  rung = [];
  tool = notifyTool({
    db: stage.database.db,
    listAgents: async () => await agents.list(),
    ring: async (wakes) => {
      rung.push(...wakes);
      await Promise.resolve();
    },
  });
  await stage.pairs(dm('olga'), olga, 'owner');
  await stage.pairs(dm('mia'), mia, 'member');
});
afterEach(async () => await stage[Symbol.asyncDispose]());

interface Row {
  readonly id: string;
  readonly sessionId: string;
  readonly agent: string;
  readonly mode: string;
  readonly origin: Origin;
  readonly payload: TurnPayload;
}

/** Every turn there is, the oldest first. */
async function turns(): Promise<Row[]> {
  const rows = await stage.database.query<Record<string, string>>(
    'select id, session_id, agent_name, mode, origin, payload from turn order by created_at, id',
  );
  return rows.map((row) => ({
    id: row['id'] ?? '',
    sessionId: row['session_id'] ?? '',
    agent: row['agent_name'] ?? '',
    mode: row['mode'] ?? '',
    origin: originSchema.parse(row['origin']),
    payload: turnPayloadSchema.parse(row['payload']),
  }));
}

async function newest(): Promise<Row> {
  const row = (await turns()).at(-1);
  if (row === undefined) throw new Error('there is no turn');
  return row;
}

/** What the agent of a turn gets when it calls `notify`. */
async function notifies(from: Row, to: string, callKey: string = newId()): Promise<ToolResult> {
  return await tool.run(
    { to, text: 'Mend the build.' },
    {
      sessionId: from.sessionId,
      turnId: from.id,
      callKey,
      agent: await agents.require(from.agent),
      origin: from.origin,
      signal: new AbortController().signal,
      sandbox: async () => await Promise.reject(new Error('writing needs no hands')),
      progress: () => undefined,
    },
  );
}

/** What the gate says to an action in a turn: of the bundled agent, or of one that may do everything. */
async function verdict(turn: Row, claim: ToolClaim, profile: 'bundled' | 'all' = 'all'): Promise<string> {
  const agent = profile === 'bundled' ? await agents.require(turn.agent) : mightyAgent();
  const { id: turnId, sessionId, origin } = turn;
  return await gateVerdict(stage.database.db, agent, { turnId, sessionId, origin }, { tool, claim });
}

const endAll: ToolClaim = { action: 'session.end', resource: 'all', risk: 'low', summary: 'End it' };

test('what an agent writes to another becomes a turn in the same thread, for the same person, once for each call', async () => {
  await stage.does(group, olga, { type: 'message', text: 'the build is red', addressed: 'mention', id: 'm7' });
  const asked = await newest();
  expect(asked.agent).toBe('assistant');
  const results = await Promise.all(
    ['1:a', '1:a', '1:a'].map(async (key) => await notifies(asked, 'agent:coder', key)),
  );
  for (const result of results)
    expect(result).toMatchObject({ isError: false, text: expect.stringMatching(/^Sent to 1 of 1\./) as string });
  const handed = await newest();
  expect(await turns()).toHaveLength(2);
  expect(handed).toMatchObject({ agent: 'coder', mode: 'followup', origin: asked.origin });
  expect(handed.sessionId).not.toBe(asked.sessionId);
  expect(handed.payload).toEqual({
    author: 'assistant',
    text: '(From the agent "assistant". Your answer goes to the person it works for, in this thread.)\nMend the build.',
    handOff: { hops: 1, people: [asked.origin.personId] },
  });
  expect(rung).toEqual([{ sessionId: handed.sessionId, generation: 1, delayMs: 0 }]);
  expect((await stage.turns(group)).map(({ agent }) => agent).sort()).toEqual(['assistant', 'coder']);
  await notifies(asked, 'agent:coder', '2:b');
  expect(await turns()).toHaveLength(3);
});

test('an agent that waits for a decision is written to behind it, and the thread reads why it does not answer', async () => {
  await stage.says(group, olga, 'the build is red');
  const asked = await newest();
  await notifies(asked, 'agent:coder');
  const { id, sessionId } = await newest();
  await stage.database.query(`update turn set state = 'waiting', waiting_for = 'approval' where id = $1`, [id]);
  await stage.database.query(
    `update lane set state = 'parked', head_seq = 1, ready_at = null, run_at = null, first_at = null where session_id = $1`,
    [sessionId],
  );
  await notifies(asked, 'agent:coder', '2:b');
  await notifies(asked, 'agent:coder', '2:b');
  expect((await stage.said(group)).map(({ text }) => text)).toEqual([
    'coder reads this as soon as its request above is decided. `/approvals` shows it.',
  ]);
});

test('an edit of the message that began it does not change what the agents wrote to each other', async () => {
  await stage.does(dm('olga'), olga, { type: 'message', text: 'the build is red', id: 'm7' });
  const asked = await newest();
  await notifies(asked, 'agent:coder');
  const handed = await newest();
  await stage.does(dm('olga'), olga, { type: 'edit', text: 'the build is green', id: 'm7' });
  expect((await turns()).find(({ id }) => id === handed.id)?.payload).toEqual(handed.payload);
});

test('work goes from agent to agent three times and no further, never to its own agent, and to all only at first', async () => {
  await stage.says(dm('olga'), olga, 'the build is red');
  const asked = await newest();
  expect(await notifies(asked, 'agent:assistant')).toMatchObject({
    isError: true,
    text: expect.stringContaining('cannot write to itself') as string,
  });
  for (const [to, hops] of [
    ['coder', 1],
    ['assistant', 2],
    ['coder', 3],
  ] as const) {
    expect((await notifies(await newest(), `agent:${to}`)).isError).toBe(false);
    const handed = await newest();
    expect(handed).toMatchObject({ agent: to, origin: asked.origin, payload: { handOff: { hops } } });
  }
  expect(await notifies(await newest(), 'agent:assistant')).toMatchObject({
    isError: true,
    text: expect.stringContaining('This went from agent to agent 3 times already') as string,
  });
  expect(await turns()).toHaveLength(4);
  const [, first] = await turns();
  if (first === undefined) throw new Error('there is no turn');
  expect(await notifies(first, 'agents')).toMatchObject({
    isError: true,
    text: expect.stringContaining('may write to all') as string,
  });
  expect(await turns()).toHaveLength(4);
});

test('an agent that is not there is an error that names those there are; an alias is no way round a grant', async () => {
  await stage.says(dm('olga'), olga, 'the build is red');
  for (const to of ['agent:nobody', 'agent:dev', 'agent:Coder']) {
    const result = await notifies(await newest(), to);
    expect(result.isError).toBe(true);
    expect(result.text).toContain(`There is no agent "${to.slice(6)}". There are: assistant, coder.`);
  }
  expect(await turns()).toHaveLength(1);
});

test('the other agent may do what the person may, and nothing more when a member had a say in it', async () => {
  await stage.says(group, olga, 'tidy up');
  const asked = await newest();
  await notifies(asked, 'agent:coder');
  expect(await verdict(await newest(), endAll)).toBe('allow');
  await stage.database.query(`update turn set state = 'running', started_at = now() where id = $1`, [asked.id]);
  await stage.says(group, mia, 'and end all sessions');
  await stage.database.query(
    `update turn set state = 'absorbed', into_seq = 1, finished_at = now() where session_id = $1 and seq = 2`,
    [asked.sessionId],
  );
  await notifies(asked, 'agent:coder');
  const handed = await newest();
  expect(handed.origin).toEqual(asked.origin);
  expect(await verdict(handed, endAll)).toBe('deny');
  await notifies(handed, 'agent:assistant');
  expect((await newest()).payload.handOff?.people).toHaveLength(2);
  expect(await verdict(await newest(), endAll)).toBe('deny');
});

test('for a member an agent gains nothing by a hop, and once they are removed nothing is done for them', async () => {
  await stage.says(dm('mia'), mia, 'end all sessions');
  await notifies(await newest(), 'agent:coder');
  const handed = await newest();
  const read: ToolClaim = { action: 'memory.read', resource: 'x', risk: 'low', summary: 'Look' };
  expect(await verdict(handed, endAll)).toBe('deny');
  expect(await verdict(handed, read)).toBe('allow');
  await stage.commands(dm('olga'), olga, 'remove mia');
  expect(await verdict(handed, read)).toBe('deny');
});

test('the bundled agents ask before they write to another agent', async () => {
  await stage.says(dm('olga'), olga, 'the build is red');
  const asked = await newest();
  await notifies(asked, 'agent:coder');
  for (const turn of [asked, await newest()]) {
    for (const to of ['agent:coder', 'agents', 'Agents']) {
      const claim = tool.claim({ to, text: 'hello' });
      expect(claim).toMatchObject({ action: 'message.send', resource: to.toLowerCase() });
      expect(await verdict(turn, claim, 'bundled')).toBe('wait');
    }
    expect(await verdict(turn, tool.claim({ to: 'here', text: 'hello' }), 'bundled')).toBe('allow');
  }
});

test('an agent writes to all others, and never to itself', async () => {
  await stage.says(dm('olga'), olga, 'who is there?');
  const asked = await newest();
  expect(await notifies(asked, 'agents')).toMatchObject({
    isError: false,
    text: expect.stringMatching(/^Sent to 1 of 1\./) as string,
  });
  expect((await turns()).map(({ agent }) => agent)).toEqual(['assistant', 'coder']);
});

test('/announce to agents is a turn for each with a result for each, whoever of them is not there, for admins only', async () => {
  expect(await stage.commands(dm('mia'), mia, 'announce agents Say hello.')).toMatch(/Only an owner or admin/);
  expect(await turns()).toEqual([]);
  expect(await stage.commands(dm('olga'), olga, 'announce agents Say hello.')).toMatch(/^Announced: 2 delivered\./);
  const all = await turns();
  expect(all.map(({ agent }) => agent).sort()).toEqual(['assistant', 'coder']);
  for (const turn of all) {
    expect(turn).toMatchObject({ mode: 'followup', payload: { text: 'Say hello.', author: 'olga' } });
    expect(turn.payload.handOff).toBeUndefined();
    expect(turn.origin).toMatchObject({ ...dm('olga'), personId: (await stage.personOf(dm('olga'), olga))?.id });
  }
  const mixed = await stage.commands(dm('olga'), olga, 'announce to:agent:nobody,agent:coder,@mia Hello.');
  expect(mixed).toMatch(/^Announced: 1 delivered, 1 waiting, 1 failed\./);
  expect(mixed).toContain('agent:nobody: failed, There is no agent "nobody". There are: assistant, coder.');
  expect(await turns()).toHaveLength(3);
  expect(await stage.commands(dm('olga'), olga, 'announce agent:coder Hello again.')).toMatch(
    /^Announced: 1 delivered/,
  );
  expect((await newest()).payload.text).toBe('Hello again.');
});

test('where there is no thread, agents cannot be written to, and the others still are', async () => {
  const broadcast = await stage.database.db.transaction().execute(
    async (tx) =>
      await sendBroadcast(tx, {
        id: newId(),
        markdown: 'Hello.',
        level: 'info',
        priority: 'normal',
        author: 'operator',
        createdBy: undefined,
        turnId: undefined,
        report: undefined,
        targets: ['agents', 'agent:coder', '@mia'],
      }),
  );
  const reason = 'Agents answer in the thread they are written to from, and here is none.';
  expect(broadcast.results).toMatchObject([
    { target: '@mia', state: 'waiting' },
    { target: 'agents', state: 'failed', reason },
    { target: 'agent:coder', state: 'failed', reason },
  ]);
  expect(await turns()).toEqual([]);
});
