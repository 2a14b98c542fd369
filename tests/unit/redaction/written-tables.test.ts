import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { isWritten } from '#core/redaction/redact-writes.ts';

const root = path.resolve(import.meta.dirname, '../../..');

/**
 * Tables whose writes do not go past the redactor, because they hold no words of people, models, tools or platforms, or
 * hold them in a form that must stay as it is. Whoever adds a table decides here or in `core/redaction/redact-writes.ts`.
 */
const withoutWords: Readonly<Record<string, string>> = {
  access_token: 'hashes of tokens, names an owner gave them',
  access_token_run: 'ids',
  action_token: 'hashes',
  agent: 'names',
  agent_version: 'files of the team; their digest must fit',
  answer_prompt: 'hashes, and names of secrets',
  approval_card: 'places',
  approval_list: 'places',
  approval_list_button: 'hashes',
  blob: 'bytes of files',
  budget: 'amounts',
  budget_limit: 'amounts',
  channel_account: 'states of our accounts; errors of platforms are classified before',
  channel_room: 'states',
  console_message: 'written in the statements that begin with console_thread',
  delivery_pace: 'times',
  discord_place: 'ids',
  egress_use: 'counts',
  file_cursor: 'offsets',
  grant_rule: 'patterns that must match what is asked, which was redacted before it was asked',
  identity: 'names and ids of accounts',
  ledger: 'amounts',
  mcp_call: 'answers a server gets as they were given; its state must come back unchanged',
  mcp_client: 'sealed',
  mcp_grant: 'sealed',
  mcp_login: 'sealed',
  mcp_server: 'names and sources of the settings',
  mcp_tool: 'texts whose digest must fit',
  model_cooldown: 'times',
  offer_button: 'hashes',
  one_time_code: 'hashes',
  pairing_code: 'hashes',
  person: 'names',
  question_button: 'hashes',
  question_card: 'places',
  sandbox_place: 'names of hosts',
  session: 'places',
  session_forward: 'places',
  telegram_lost_topic: 'ids',
  telegram_topic: 'ids',
  thread: 'places',
  thread_choice: 'names',
  vault_secret: 'names',
  vault_version: 'sealed',
  webhook_endpoint: 'hosts',
};

/** Every statement of every store that writes, with the tables it writes to. */
function writes(): { readonly file: string; readonly statement: string; readonly table: string }[] {
  const files = ['core', 'bots', 'workers', 'server'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('-store.ts'))
      .map((name) => path.join(folder, name)),
  );
  return files.flatMap((file) => {
    const text = readFileSync(path.join(root, file), 'utf8');
    return [...text.matchAll(/\bsql(?:<[^`]*?>)?`([^`]*)/g)].flatMap(([, statement = '']) =>
      [...statement.matchAll(/\binsert into ([a-z_]+)|(?<!\b(?:for|do|no key) )\bupdate ([a-z_]+)(?= |\n)/g)].map(
        ([, inserted, updated]) => ({ file, statement, table: inserted ?? updated ?? '' }),
      ),
    );
  });
}

test('every table of words is written past the redactor', () => {
  const all = writes();
  expect(all.length).toBeGreaterThan(80);
  const open = all.filter(
    ({ statement, table }) =>
      !Object.hasOwn(withoutWords, table) &&
      !isWritten(statement) &&
      // What a platform sent is stored as it came, and forgotten when it held a secret.
      !/^\s*insert into inbox /.test(statement),
  );
  expect(open.map(({ file, table, statement }) => `${file}: ${table}: ${statement.trim().slice(0, 80)}`)).toEqual([]);
});

test('every table that is left out exists', () => {
  const tables = new Set(writes().map(({ table }) => table));
  expect(Object.keys(withoutWords).filter((table) => !tables.has(table))).toEqual([]);
});

test.each([
  'select outbox_put(',
  ' select * from lane_boundary(',
  '\n    insert into memory_fact (id',
  'update turn set',
  'with place as (\n insert into console_thread (a',
  'with added as (\n insert into sandbox_event (a',
])('"%s" is a write of words', (head) => expect(isWritten(head)).toBe(true));

test.each([
  'insert into inbox (id',
  'select * from turn where',
  'update inbox_x',
  'delete from outbox',
  'insert into vault_version (',
])('"%s" is none', (head) => expect(isWritten(head)).toBe(false));
