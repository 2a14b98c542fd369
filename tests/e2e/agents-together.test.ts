import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

const forum = -740;
const topic = 45;
let product: Product;

// The agents are the bundled ones: what they may do by default is part of the claim.
beforeAll(async () => {
  product = await Product.up({ script: scriptedBrain });
  product.telegram.people.group(forum, { isForum: true });
  product.telegram.people.topic(forum, topic);
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
});

test('the assistant hands work to the coder after a word, and its answer arrives in the thread of who asked', async () => {
  const asked = product.telegram.people.says(forum, owner, {
    text: '@switchyard_bot call: notify {"to":"agent:coder","text":"The build is red."}',
    threadId: topic,
  });
  const token = await product.telegram.waitFor(() => product.button(forum, 'Approve'));
  expect(await product.database.query("select id from turn where agent_name = 'coder'")).toEqual([]);
  product.telegram.people.presses(forum, owner, token);
  // The scripted model repeats what it was told.
  await product.hears(forum, /^\(From the agent "assistant"\. [^)]+\)\s+The build is red\./);
  await product.hears(forum, /Result: Sent to 1 of 1/);
  const answers = product.telegram.said(forum).filter(({ text }) => text.startsWith('(From the agent'));
  expect(answers).toMatchObject([{ threadId: topic, replyTo: asked }]);
  const rows = await product.database.query(
    `select c.agent_name, c.origin = a.origin as is_same_origin, c.payload ->> 'author' as author
     from turn c join turn a on a.agent_name = 'assistant' where c.agent_name = 'coder'`,
  );
  expect(rows).toEqual([{ agent_name: 'coder', is_same_origin: true, author: 'assistant' }]);
});

test('/announce agents has every agent answer where it was said; on the command line there is no such place', async () => {
  product.telegram.people.says(owner, owner, '/announce agents say: present');
  await product.hears(owner, /Announced: 2 delivered/);
  await product.telegram.waitFor(
    () => product.telegram.said(owner).filter(({ text }) => text === 'present').length === 2,
  );
  const sent = await product.cli(['broadcast', 'send', 'say: present', '--to', 'agents']);
  expect(sent.code).not.toBe(0);
  expect(sent.stdout).toContain('Agents answer in the thread they are written to from, and here is none.');
});

test('a worker that dies after it handed work on hands it on once', async () => {
  await product.database.query(`
    create function hold_result() returns trigger language plpgsql as $$
    begin perform pg_sleep(600); return new; end $$`);
  await product.database.query(`
    create trigger hold_result before insert on event for each row when (new.kind = 'tool_finished')
    execute function hold_result()`);
  product.telegram.people.says(owner, owner, 'call: notify {"to":"agent:coder","text":"Mend it."}');
  await product.presses(owner, owner, 'Approve', 'Mend it.');
  // The work is handed on, and that it is would be put on record now.
  const sleeping = "from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
  await eventually(async () => expect(await product.database.query(`select pid ${sleeping}`)).toHaveLength(1));
  await product.kill('up');
  await product.database.query(`select pg_terminate_backend(pid) ${sleeping}`);
  await product.database.query('drop function hold_result() cascade');
  await product.start('up');
  await product.hears(owner, /Result: Sent to 1 of 1/, 60_000);
  await product.hears(owner, /^\(From the agent "assistant"\. [^)]+\)\s+Mend it\./, 60_000);
  expect(
    await product.database.query(
      `select agent_name, crashes from turn where payload ->> 'text' like '%Mend it.%' order by created_at`,
    ),
  ).toMatchObject([{ agent_name: 'assistant', crashes: 1 }, { agent_name: 'coder' }]);
});
