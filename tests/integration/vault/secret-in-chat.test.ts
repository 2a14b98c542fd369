import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

const ann: Somebody = { name: 'ann' };
const bob: Somebody = { name: 'bob' };
const dm: Conversation = { channel: 'telegram', account: 'bot', room: 'd1', kind: 'dm' };
const bobDm: Conversation = { channel: 'telegram', account: 'bot', room: 'd2', kind: 'dm' };
const group: Conversation = { channel: 'telegram', account: 'bot', room: 'g1', kind: 'group' };
const value = 'typed-in-chat-0123456789';
const shaped = `ghp_${'a1B2'.repeat(9)}`;

let stage: RoutingStage;

beforeAll(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm, ann, 'owner');
  await stage.pairs(bobDm, bob, 'member');
});
afterAll(async () => await stage[Symbol.asyncDispose]());
beforeEach(async () => {
  stage.mayDelete = true;
  stage.hasForms = false;
  stage.deleted.length = 0;
  stage.forms.length = 0;
  await stage.database.query('delete from vault_secret');
  await stage.database.query('delete from answer_prompt');
});

/** Everything the database holds, as text. */
async function dump(): Promise<string> {
  const columns = await stage.database.query<{ t: string; c: string }>(
    `select table_name as t, column_name as c from information_schema.columns where table_schema = 'public'
     and data_type in ('text', 'jsonb', 'ARRAY', 'bytea', 'character varying')`,
  );
  const texts: string[] = [];
  for (const { t, c } of columns) {
    const [row] = await stage.database.query<{ all: string | null }>(
      `select string_agg("${c}"::text, ' ') as all from "${t}"`,
    );
    texts.push(`${t}.${c}: ${row?.all ?? ''}`);
  }
  return texts.join('\n');
}

const kept = async () =>
  await stage.database.query(`select s.name, v.version, v.agents, v.hosts from vault_secret s
    join vault_version v on v.secret_id = s.id where v.superseded_at is null`);

test('an owner is asked for the value in private, and the message with it is deleted and forgotten', async () => {
  await stage.commands(dm, ann, 'secret set github_token agent:assistant host:api.github.com');
  await stage.deliver();
  expect(await stage.lastText(dm)).toContain('Send me the value of **github_token**');
  await stage.does(dm, ann, { type: 'message', text: ` ${value} `, id: 'm-1' });
  expect(await stage.lastText(dm)).toBe(
    'I keep **github_token**, version 1. assistant may use it at api.github.com. I deleted your message.',
  );
  expect(stage.deleted).toEqual(['m-1']);
  expect(await kept()).toEqual([
    { name: 'github_token', version: 1, agents: ['assistant'], hosts: ['api.github.com'] },
  ]);
  expect(await stage.turns(dm)).toEqual([]);
  const all = await dump();
  expect(all).not.toContain(value);
  expect(all).not.toContain(Buffer.from(value).toString('hex'));
});

test('a value that is unmistakably a key is taken when it was asked for, and refused when it was not', async () => {
  await stage.commands(dm, ann, 'secret set github_token');
  await stage.deliver();
  await stage.does(dm, ann, { type: 'message', text: `\`${shaped}\``, id: 'm-2' });
  expect(await stage.lastText(dm)).toContain('I keep **github_token**');
  await stage.says(dm, ann, shaped);
  expect(await stage.lastText(dm)).toContain('looks like a GitHub token');
  expect(await dump()).not.toContain(shaped);
});

test('where the message cannot be deleted its author is told to do it', async () => {
  stage.mayDelete = false;
  await stage.commands(dm, ann, 'secret set other_token');
  await stage.deliver();
  await stage.says(dm, ann, value);
  expect(await stage.lastText(dm)).toContain('Delete your message now');
});

test('a form takes the value where the platform has one, and no message ever holds it', async () => {
  stage.hasForms = true;
  await stage.commands(dm, ann, 'secret set form_token agent:assistant host:a.example.org');
  const [form] = stage.forms;
  expect(form).toMatchObject({ title: 'Keep form_token', fields: [{ name: 'words', isRequired: true }] });
  const submitted: InboundEvent = {
    type: 'form',
    token: form?.token ?? '',
    values: { words: shaped },
    conversation: dm,
    actor: { externalId: 'ann', displayName: 'ann', isBot: false, isAnonymous: false },
    occurredAt: new Date(),
  };
  await stage.route(dm, submitted);
  expect(await stage.lastText(dm)).toContain('I keep **form_token**, version 1.');
  expect(stage.deleted).toEqual([]);
  // A second click on the same form is answered and changes nothing.
  await stage.route(dm, submitted);
  expect(await stage.lastText(dm)).toContain('not asked any more');
  expect(await kept()).toMatchObject([{ name: 'form_token', version: 1 }]);
  expect(await dump()).not.toContain(shaped);
});

test.each([
  'secret set github_token hunter2hunter2',
  'secret set Hunter2!hunter2',
  'secret hunter2hunter2',
  'secret set a b c',
])('a value as an argument (%s) is refused, forgotten and deleted, and is not repeated', async (line) => {
  const answer = await stage.commands(dm, ann, line);
  expect(answer).toContain('A value is never part of a command');
  expect(stage.deleted).toHaveLength(1);
  expect(await kept()).toEqual([]);
  expect((await dump()).toLowerCase()).not.toContain('hunter2');
});

test('in a group nothing is asked and nothing is listed', async () => {
  for (const line of ['secret', 'secret set github_token', 'secret remove github_token']) {
    expect(await stage.commands(group, ann, line)).toContain('in private');
  }
  expect(await stage.database.query('select from answer_prompt')).toEqual([]);
});

test('a member can neither see nor keep secrets', async () => {
  for (const line of ['secret', 'secret set github_token', 'secret remove github_token']) {
    expect(await stage.commands(bobDm, bob, line)).toContain('Only an owner or admin');
  }
});

test('a value that cannot be kept is refused, forgotten and deleted all the same', async () => {
  await stage.commands(dm, ann, 'secret set tiny_token');
  await stage.deliver();
  await stage.does(dm, ann, { type: 'message', text: 'xyz-567', id: 'm-3' });
  expect(await stage.lastText(dm)).toContain('The value has 7 characters.');
  expect(stage.deleted).toEqual(['m-3']);
  expect(await kept()).toEqual([]);
  // With letters that are in no id.
  expect(await dump()).not.toContain('xyz-567');
});

test('the next message is the value once; the one after it goes to the agent', async () => {
  await stage.commands(dm, ann, 'secret set once_token');
  await stage.deliver();
  await stage.says(dm, ann, value);
  await stage.says(dm, ann, 'and now to something else');
  expect(await stage.turns(dm)).toMatchObject([{ text: 'and now to something else' }]);
});

test('another /secret calls off what was asked, and the next message is one for the agent', async () => {
  await stage.commands(dm, ann, 'secret set left_token');
  await stage.deliver();
  await stage.commands(dm, ann, 'secret');
  await stage.deliver();
  await stage.says(dm, ann, 'good morning to you');
  expect((await stage.turns(dm)).at(-1)).toMatchObject({ text: 'good morning to you' });
  expect(await kept()).toEqual([]);
  await stage.commands(dm, ann, 'secret set first_token');
  await stage.deliver();
  await stage.commands(dm, ann, 'secret set second_token');
  await stage.deliver();
  await stage.says(dm, ann, value);
  await stage.says(dm, ann, 'good evening to you');
  expect(await kept()).toMatchObject([{ name: 'second_token' }]);
});

test('an event that is routed again after a crash keeps the secret once', async () => {
  await stage.commands(dm, ann, 'secret set again_token');
  await stage.deliver();
  const event: InboundEvent = {
    type: 'message',
    text: value,
    addressed: 'dm',
    files: [],
    messageId: 'm-4',
    conversation: dm,
    actor: { externalId: 'ann', displayName: 'ann', isBot: false, isAnonymous: false },
    occurredAt: new Date(),
  };
  const inboxId = await stage.route(dm, event);
  const before = await stage.turns(dm);
  await Promise.all([stage.again(inboxId, dm, event), stage.again(inboxId, dm, event)]);
  expect(await kept()).toMatchObject([{ name: 'again_token', version: 1 }]);
  expect(await stage.turns(dm)).toEqual(before);
  expect(await dump()).not.toContain(value);
});

test('the list shows names, scopes and ages, and a removed one is gone', async () => {
  expect(await stage.commands(dm, ann, 'secret')).toContain('I keep no secrets');
  await stage.commands(dm, ann, 'secret set listed_token agent:a host:b.example.org');
  await stage.deliver();
  await stage.says(dm, ann, value);
  expect(await stage.commands(dm, ann, 'secret list')).toMatch(
    /\*\*listed_token\*\* version 1, .* old: a at b\.example\.org; never used/,
  );
  expect(await stage.commands(dm, ann, 'secret remove listed_token')).toContain('I forgot **listed_token**');
  expect(await stage.commands(dm, ann, 'secret remove listed_token')).toContain('There is no credential');
});
