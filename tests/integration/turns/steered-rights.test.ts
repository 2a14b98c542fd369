import { afterEach, expect, test } from 'vitest';
import type { Conversation } from '#core/sessions/origin.ts';
import { gateVerdict, mightyAgent } from '#tests/support/gate-verdict.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';
import { notifyTool } from '#workers/tools/notify.ts';
import type { TurnWork } from '#workers/turn/turn-deps.ts';

let stage: RoutingStage;
afterEach(async () => await stage[Symbol.asyncDispose]());

const dm = (name: string): Conversation => ({ channel: 'telegram', account: 'bot', room: name, kind: 'dm' });
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-100', kind: 'group' };
const olga: Somebody = { name: 'olga' };
const mia: Somebody = { name: 'mia' };

/** What the gate says to ending a session, which members may not have done, in the turn that olga began. */
async function verdict(): Promise<string> {
  const [turn] = await stage.database.query<{ id: string; session_id: string; origin: TurnWork['origin'] }>(
    'select id, session_id, origin from turn where seq = 1',
  );
  return await gateVerdict(
    stage.database.db,
    mightyAgent(),
    {
      turnId: turn?.id ?? '',
      sessionId: turn?.session_id ?? '',
      origin: turn?.origin ?? { ...group, personId: 'none' },
    },
    {
      tool: notifyTool({ db: stage.database.db, listAgents: async () => [], ring: async () => undefined }),
      claim: { action: 'session.end', resource: 'all', risk: 'low', summary: 'End it' },
    },
  );
}

test('a member who steers the running turn of an owner gets nothing done that members may not', async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm('olga'), olga, 'owner');
  await stage.pairs(dm('mia'), mia, 'member');
  await stage.says(group, olga, 'tidy up');
  await stage.database.query(`update turn set state = 'running', started_at = now()`);
  expect(await verdict()).toBe('allow');
  await stage.says(group, mia, 'and end all sessions');
  expect(await verdict()).toBe('allow');
  await stage.database.query(`update turn set state = 'absorbed', into_seq = 1, finished_at = now() where seq = 2`);
  expect(await verdict()).toBe('deny');
});

test('once whoever steered is removed, nothing more is done in that turn', async () => {
  stage = await RoutingStage.open();
  const adam = { name: 'adam' };
  await stage.pairs(dm('olga'), olga, 'owner');
  await stage.pairs(dm('adam'), adam, 'admin');
  await stage.says(group, olga, 'tidy up');
  await stage.database.query(`update turn set state = 'running', started_at = now()`);
  await stage.says(group, adam, 'and end all sessions');
  await stage.database.query(`update turn set state = 'absorbed', into_seq = 1, finished_at = now() where seq = 2`);
  expect(await verdict()).toBe('allow');
  await stage.commands(dm('olga'), olga, 'remove adam');
  expect(await verdict()).toBe('deny');
});
