import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { inWorkspace } from '../support/workspace.ts';

const value = 'Vault-value/0123456789+abc';
const shaped = `AKIA${'IOSFODNN7EXAMPLE'}`;

const assistant = {
  name: 'assistant',
  frontMatter: `tools: [exec, memory_save]
autonomy: autonomous
grants:
  - allow: [tool.exec, memory.*]`,
};

/** Everything the database holds, as text. */
async function dump(product: Product): Promise<string> {
  const columns = await product.database.query<{ t: string; c: string }>(
    `select table_name as t, column_name as c from information_schema.columns where table_schema = 'public'
     and data_type in ('text', 'jsonb', 'ARRAY', 'bytea', 'character varying')`,
  );
  const texts: string[] = [];
  for (const { t, c } of columns) {
    const rows = await product.database.query<{ all: string | null }>(
      `select string_agg("${c}"::text, ' ') as all from "${t}"`,
    );
    texts.push(`${t}.${c}: ${rows[0]?.all ?? ''}`);
  }
  return texts.join('\n');
}

/** Where any form of a secret shows. */
function places(seen: Readonly<Record<string, string>>, secret: string): string[] {
  const bytes = Buffer.from(secret);
  const forms = [secret, bytes.toString('hex'), bytes.toString('base64').slice(0, -4), encodeURIComponent(secret)];
  return Object.entries(seen).flatMap(([where, text]) => (forms.some((form) => text.includes(form)) ? [where] : []));
}

test('a secret that a tool prints, a person says and a model writes is seen nowhere', async () => {
  const reversed = [...value].reverse().join('');
  const half = Math.floor(value.length / 2);
  const texts = [`It is ${value.slice(0, half)}`, `${value.slice(half)} and ${shaped}, as you see.`];
  await using product = await Product.up({
    agents: [assistant],
    env: { LOG_LEVEL: 'trace' },
    script: [
      {
        toolCalls: [
          {
            name: 'exec',
            arguments: {
              command: `V=$(echo '${reversed}' | rev); echo "plain $V"; printf %s "x$V" | base64; printf %s "$V" | od -An -tx1 | tr -d ' \\n'; echo; echo "AKIA""IOSFODNN7EXAMPLE"; echo '$CRED{demo_token}'; echo "now $V ..."; until [ -e seen ]; do sleep 0.1; done; echo "last $V"`,
            },
          },
        ],
      },
      { toolCalls: [{ name: 'memory_save', arguments: { text: `the token is ${value}` } }] },
      { text: texts.join(''), delayMs: 300 },
    ],
  });
  const set = await product.cli(
    ['vault', 'set', 'demo_token', '--agent', 'assistant', '--host', 'api.example.org'],
    `${value}\n`,
  );
  expect(set).toEqual({
    code: 0,
    stdout: expect.stringContaining('Kept: demo_token, version 1.') as string,
    stderr: '',
  });

  product.telegram.people.says(owner, owner, `My token is ${value} (you may use $CRED{demo_token}), print it.`);
  // The command is shown while it runs, with its latest line.
  await product.telegram.waitFor(
    () => JSON.stringify(product.telegram.calls).includes('now [redacted: demo_token]'),
    60_000,
  );
  await inWorkspace(product, 'touch seen');
  await product.hears(owner, /It is \[redacted: demo_token\] and \[redacted: an AWS key\], as you see\./, 60_000);
  await eventually(async () =>
    expect(await product.database.query(`select 1 from turn where state not in ('done', 'failed')`)).toEqual([]),
  );
  await eventually(async () =>
    expect(await product.database.query(`select 1 from outbox where state in ('pending', 'sending')`)).toEqual([]),
  );

  const log = readFileSync(path.join(product.folder, 'data', 'switchyard.log'), 'utf8');
  const prompts = JSON.stringify(product.model.requests.map(({ body }) => body));
  const seen = {
    log: log + product.output,
    prompts,
    database: await dump(product),
    chat: JSON.stringify(product.telegram.calls),
  };
  expect(places(seen, value)).toEqual([]);
  expect(places(seen, shaped)).toEqual([]);
  // Not even a part, although the answer came letter by letter and was shown while it did.
  expect(product.telegram.calls.filter(({ method }) => /draft/i.test(method)).length).toBeGreaterThan(1);
  for (const part of [value.slice(0, 10), value.slice(-10), shaped.slice(0, 12)]) expect(seen.chat).not.toContain(part);
  // What was there is there no more, and what was not a secret still is.
  expect(prompts).toContain('My token is [redacted: demo_token] (you may use $CRED{demo_token}), print it.');
  expect(prompts).toContain('plain [redacted: demo_token]');
  expect(prompts).toContain('last [redacted: demo_token]');
  expect(seen.database).toContain('[redacted: demo_token]');
  // A handle is never resolved where an agent can read it.
  expect(prompts).toMatch(/\\n\$CRED\{demo_token\}\\n/);
  expect(await product.database.query(`select 1 from vault_secret where last_used_at is not null`)).toEqual([]);
});

test('the whole life of a secret at the command line, which never shows it', async () => {
  await using product = await Product.prepare({ agents: [assistant] });
  const said: string[] = [];
  const vault = async (args: readonly string[], input = '') => {
    const result = await product.cli(['vault', ...args], input);
    said.push(result.stdout, result.stderr);
    return result;
  };
  const list = async () => (JSON.parse((await vault(['list', '--json'])).stdout) as { secrets: unknown[] }).secrets;

  expect((await vault(['list'])).stdout).toContain('The vault is empty.');
  expect(await vault(['set', 'api_token', '--host', 'api.example.org'], value)).toMatchObject({
    code: 0,
    stdout: 'Kept: api_token, version 1.\nNobody may use it yet: ./switchyard vault scope api_token --agent NAME\n',
  });
  const key = path.join(product.folder, 'data', 'master-key');
  expect(statSync(key).mode & 0o777).toBe(0o600);
  expect(await vault(['scope', 'api_token', '--agent', 'assistant', 'ops-*'])).toMatchObject({
    code: 0,
    stdout: 'Kept: api_token, version 2.\nFor assistant, ops-*, at api.example.org.\n',
  });
  expect(await vault(['rotate', 'api_token'], `${value}-2`)).toMatchObject({ code: 0 });
  expect(await list()).toMatchObject([
    { name: 'api_token', version: 3, agents: ['assistant', 'ops-*'], hosts: ['api.example.org'], olderCount: 2 },
  ]);
  expect((await vault(['list'])).stdout).toMatch(
    /api_token\s+3 \(\+2 older\)\s+\S+ \S+ UTC\s+never\s+assistant, ops-\*/,
  );

  const before = readFileSync(key, 'utf8');
  expect(await vault(['rotate', '--master'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Wrapped anew: 3 keys, under file:[0-9a-f]{16}\.\n$/) as string,
  });
  expect(readFileSync(key, 'utf8')).not.toBe(before);
  expect(await vault(['rm', 'api_token', '--old'])).toMatchObject({
    stdout: 'Forgotten: 2 older versions of api_token.\n',
  });
  expect(await vault(['scope', 'api_token', '--host', '*.example.org'])).toMatchObject({ code: 0 });

  // What is wrong is said in a sentence with its mend, and nothing changes.
  const wrong: readonly (readonly [readonly string[], string, RegExp])[] = [
    [['set', 'api_token', value], '', /A value was written on the command line/],
    [['rotate', 'api_token', value], '', /A value was written on the command line/],
    [['set', 'api_token'], '', /No value was given/],
    [['set', 'api_token'], 'short\n', /The value has 5 characters\.\nUse at least 8/],
    [['set', value], 'whatever-it-is', /That cannot be the name of a secret/],
    [['set', 'api_token', '--host', 'https://api.example.org/'], 'whatever-it-is', /is no host/],
    [['set', 'api_token', '--host', '*'], 'whatever-it-is', /is no host/],
    [['rotate', 'nowhere'], 'whatever-it-is', /There is no credential named nowhere/],
    [['scope', 'api_token'], '', /Neither an agent nor a host was named/],
    [['rotate'], '', /What shall be rotated\?/],
    [['rotate', 'api_token', '--master'], 'whatever-it-is', /What shall be rotated\?/],
    [['rm', 'nowhere'], '', /There is no credential named nowhere/],
    [['set', 'api_token'], '\ud800\0not text at all', /not plain text/],
  ];
  for (const [args, input, message] of wrong) {
    expect(await vault(args, input)).toMatchObject({ code: 1, stderr: expect.stringMatching(message) as string });
  }
  expect(await list()).toMatchObject([{ version: 4, hosts: ['*.example.org'], olderCount: 1 }]);

  chmodSync(key, 0o644);
  expect(await vault(['rotate', 'api_token'], 'whatever-it-is')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/others than its owner may read[\s\S]*chmod 600/) as string,
  });
  chmodSync(key, 0o600);
  expect(await vault(['rm', 'api_token'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('Revoke it') as string,
  });
  expect(await list()).toEqual([]);

  expect(places({ said: said.join('\n'), database: await dump(product) }, value)).toEqual([]);
  expect((await product.cli(['audit', 'verify'])).code).toBe(0);
}, 300_000);

test('a program keeps the master key, and no file of ours has it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-kms-'));
  const program = path.join(folder, 'kms.mjs');
  writeFileSync(
    program,
    `let input = ''; for await (const chunk of process.stdin) input += chunk;
     const bytes = Buffer.from(input, 'base64').map((byte) => byte ^ 0x5a);
     process.stdout.write(Buffer.from(bytes).toString('base64'));`,
  );
  await using product = await Product.prepare({
    agents: [assistant],
    env: { SWITCHYARD_KMS_COMMAND: `${process.execPath} ${program}` },
  });
  expect(await product.cli(['vault', 'set', 'kms_token', '--agent', 'assistant'], value)).toMatchObject({ code: 0 });
  expect(await product.cli(['vault', 'rotate', '--master'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Wrapped anew: 1 key, under command:[0-9a-f]{16}\.\n$/) as string,
  });
  expect(await product.cli(['vault', 'scope', 'kms_token', '--host', 'api.example.org'])).toMatchObject({ code: 0 });
  expect(existsSync(path.join(product.folder, 'data', 'master-key'))).toBe(false);
  writeFileSync(program, 'process.exit(9);');
  expect(await product.cli(['vault', 'rotate', 'kms_token'], value)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('SWITCHYARD_KMS_COMMAND (unwrap) ended with code 9.') as string,
  });
  rmSync(folder, { recursive: true });
}, 300_000);

test('a secret typed in a chat is kept, deleted there, and known to every process at once', async () => {
  await using product = await Product.up({
    agents: [assistant],
    env: { LOG_LEVEL: 'trace' },
    script: [{ text: `You said ${value}?` }],
  });
  product.telegram.people.says(owner, owner, '/secret set chat_token agent:assistant host:api.example.org');
  await product.hears(owner, /Send me the value of chat_token as your next message/);
  product.telegram.people.says(owner, owner, value);
  await product.hears(
    owner,
    /I keep chat_token, version 1\. assistant may use it at api\.example\.org\. I deleted your message\./,
  );
  expect(product.telegram.transcript(owner).filter(({ text }) => text.includes(value))).toEqual([]);

  product.telegram.people.says(owner, owner, 'what was it?');
  await product.hears(owner, /You said \[redacted: chat_token\]\?/);
  product.telegram.people.says(owner, owner, `/secret set other_token ${value}`);
  await product.hears(owner, /A value is never part of a command/);
  product.telegram.people.says(owner, owner, '/secret');
  await product.hears(owner, /chat_token version 1, .* old: assistant at api\.example\.org; never used/);

  const log = readFileSync(path.join(product.folder, 'data', 'switchyard.log'), 'utf8');
  const inbox = JSON.stringify(await product.database.query('select raw from inbox'));
  const prompts = JSON.stringify(product.model.requests.map(({ body }) => body));
  const chat = JSON.stringify(product.telegram.calls);
  expect(places({ log: log + product.output, inbox, prompts, chat, database: await dump(product) }, value)).toEqual([]);
});

test('what goes wrong is said without the secrets of the settings', async () => {
  const password = 'Hunter2-Hunter2';
  await using product = await Product.prepare({
    env: { DATABASE_URL: `postgres://ada:${password}@127.0.0.1:1/none`, OPENAI_API_KEY: 'a-key-without-a-shape-1' },
  });
  const failed = await product.cli(['people', 'list']);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain('127.0.0.1:1');
  const wrong = await product.cli(['chat', '--message', 'x', '--a-key-without-a-shape-1']);
  expect(wrong.stderr).toContain('[redacted: OPENAI_API_KEY]');
  expect(places({ failed: failed.stderr + failed.stdout, wrong: wrong.stderr }, password)).toEqual([]);
  expect(places({ wrong: wrong.stderr }, 'a-key-without-a-shape-1')).toEqual([]);
});
