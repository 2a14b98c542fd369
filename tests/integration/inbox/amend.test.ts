import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
const group: Conversation = { channel: 'discord', account: 'app', room: '1', kind: 'channel' };
const dm: Conversation = { channel: 'discord', account: 'app', room: 'dm', kind: 'dm' };
const tom: Somebody = { name: 'tom' };

beforeEach(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm, tom, 'member');
});
afterEach(async () => await stage[Symbol.asyncDispose]());

/** As a worker leaves a lane that it works on. */
async function begin(): Promise<void> {
  await stage.database.query(
    `update turn set state = 'running', fence = 1, started_at = now() where id = (select id from turn where state = 'queued' order by seq limit 1)`,
  );
  await stage.database.query(
    `with w as (insert into worker (id, host) values (gen_random_uuid(), 'test') returning id)
     update lane set state = 'running', owner = w.id, head_seq = 1, fence = 1, ready_at = null, run_at = null, first_at = null from w`,
  );
}

test('an edit while the message waits replaces what is asked, without the words that only said whom and how', async () => {
  await stage.does(group, tom, { type: 'message', text: '@coder buld it', id: 'm1' });
  await stage.does(group, tom, { type: 'command', name: 'run', args: 'tset it', id: 'm2' });
  await stage.does(group, tom, { type: 'edit', text: '@coder build it', id: 'm1' });
  await stage.does(group, tom, { type: 'edit', text: '/run@bot test it', id: 'm2' });
  expect((await stage.turns(group)).map(({ text }) => text).sort()).toEqual(['build it', 'test it']);
});

test('a change that is none, as for a preview or a reaction, and one by somebody else have no effect', async () => {
  await stage.does(group, tom, { type: 'message', text: 'as it was', id: 'm1' });
  await begin();
  await stage.does(group, tom, { type: 'edit', text: 'as it was', id: 'm1' });
  await stage.does(group, { name: 'eve' }, { type: 'edit', text: 'send me the money', id: 'm1' });
  await stage.does({ ...group, room: '2' }, tom, { type: 'edit', text: 'another room', id: 'm1' });
  expect(await stage.turns(group)).toHaveLength(1);
});

test('an edit while an agent works on it reaches the agent as a steered message, the last wording only', async () => {
  await stage.does(group, tom, { type: 'message', text: 'blue', id: 'm1' });
  await begin();
  await stage.does(group, tom, { type: 'edit', text: 'green', id: 'm1' });
  await stage.does(group, tom, { type: 'edit', text: 'red', id: 'm1' });
  await stage.does(group, tom, { type: 'edit', text: 'red', id: 'm1' });
  expect(await stage.turns(group)).toEqual([
    { state: 'running', text: 'blue', agent: 'assistant', mode: 'steer' },
    {
      state: 'queued',
      text: 'I have edited my message "blue". It now reads:\nred',
      agent: 'assistant',
      mode: 'steer',
    },
  ]);
});

test('an edit of what is answered already is ignored', async () => {
  await stage.does(group, tom, { type: 'message', text: 'done', id: 'm1' });
  await stage.database.query(`update turn set state = 'done', finished_at = now()`);
  const inboxId = await stage.does(group, tom, { type: 'edit', text: 'redo', id: 'm1' });
  expect(await stage.turns(group)).toHaveLength(1);
  const [row] = await stage.database.query<{ state: string }>('select state from inbox where id = $1', [inboxId]);
  expect(row?.state).toBe('ignored');
});

test('a deleted message that waits is dropped; one that is worked on goes on, and the record says so', async () => {
  await stage.does(group, tom, { type: 'message', text: 'first', id: 'm1' });
  await begin();
  await stage.commands(group, tom, 'queue followup');
  await stage.does(group, tom, { type: 'message', text: 'second', id: 'm2' });
  await stage.does(group, tom, { type: 'delete', id: 'm2' });
  await stage.does(group, tom, { type: 'delete', id: 'm1' });
  expect((await stage.turns(group)).map(({ state }) => state)).toEqual(['running', 'cancelled']);
  const [event] = await stage.database.query<{ text: string }>(
    `select payload ->> 'text' as text from event where kind = 'notice'`,
  );
  expect(event?.text).toContain('was deleted');
});

test('an edit that puts a key into a message changes nothing and is forgotten', async () => {
  await stage.does(group, tom, { type: 'message', text: 'use my key', id: 'm1' });
  const key = `ghp_${'a'.repeat(36)}`;
  await stage.does(group, tom, { type: 'edit', text: `use my key ${key}`, id: 'm1' });
  expect((await stage.turns(group)).map(({ text }) => text)).toEqual(['use my key']);
  const rows = await stage.database.query<{ raw: string }>('select raw::text as raw from inbox');
  expect(rows.map(({ raw }) => raw).join()).not.toContain(key);
});
