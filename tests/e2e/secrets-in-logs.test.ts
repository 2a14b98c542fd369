import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { FakeDiscord } from '../fakes/discord/fake-discord.ts';
import { FakeSlack } from '../fakes/slack/fake-slack.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

const ada = 'U100ADA';
const mia = '600000000000000007';
const room = 'C100ROOM';

/** Where the tokens of interactions are kept, because the answer needs them. */
const homes = new Set(['inbox.raw', 'outbox.body']);

test('no token and no reply address shows in the log at its finest or anywhere it is not needed, failures included', async () => {
  await using slack = await FakeSlack.start({ limits: { triggerMs: 30_000 } });
  await using discord = await FakeDiscord.start({ times: { answerMs: 30_000 } });
  slack.people.channel(room, [ada]);
  await using product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [memory_save, memory_search]
grants:
  - allow: memory.read
  - ask: memory.write`,
      },
    ],
    script: scriptedBrain,
    env: {
      LOG_LEVEL: 'trace',
      SLACK_BOT_TOKEN: slack.botToken,
      SLACK_APP_TOKEN: slack.appToken,
      SLACK_API_URL: slack.apiUrl,
      DISCORD_BOT_TOKEN: discord.token,
      DISCORD_API_URL: discord.apiUrl,
    },
  });
  const adaDm = slack.people.dm(ada);
  const miaDm = discord.people.dm(mia);
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
  const codeFor = async (role: string): Promise<string> =>
    (JSON.parse((await product.cli(['pair', '--role', role, '--json'])).stdout) as { code: string }).code;
  const codes = [await codeFor('admin'), await codeFor('member')];
  slack.people.says(adaDm, ada, codes[0] ?? '');
  discord.people.says(miaDm, mia, `/start ${codes[1]}`);
  await slack.waitFor(() => slack.said(adaDm).some(({ text }) => text.includes('We are paired')));
  await discord.waitFor(() => discord.said(miaDm).some(({ text }) => text.includes('We are paired')));

  // Everything that carries a token, first well and then with every kind of failure.
  const failures = [
    undefined,
    { kind: 'status', code: 500, description: 'internal_error' },
    { kind: 'dropAfter' },
    { kind: 'html', code: 502 },
  ] as const;
  for (const [round, fault] of failures.entries()) {
    if (fault !== undefined) {
      for (const method of ['chat.postMessage', 'views.open', 'chat.update', 'users.info', 'response_url', 'respond'])
        slack.faults.next(method, fault);
      for (const method of ['callback', 'followup', 'editOriginal', 'createMessage', 'editMessage', 'typing'])
        discord.faults.next(method, fault);
      for (const method of ['sendMessage', 'sendRichMessage', 'answerCallbackQuery', 'editMessageText', 'getUpdates'])
        product.telegram.faults.next(method, fault);
    }
    slack.people.slashCommand(room, ada, '/status', '');
    slack.people.slashCommand(adaDm, ada, '/approvals', '');
    discord.people.slash(miaDm, mia, 'status');
    product.telegram.people.says(owner, owner, '/status');
    discord.people.says(miaDm, mia, `call: memory_save {"text":"round ${round}"}`);
    const card = await discord.waitFor(() =>
      discord.said(miaDm).findLast(({ text, buttons }) => text.includes(`round ${round}`) && buttons.length > 0),
    );
    discord.people.presses(miaDm, mia, card.buttons.find(({ label }) => label.startsWith('Deny with'))?.token ?? '');
    discord.people.presses(miaDm, mia, card.buttons.find(({ label }) => label === 'Deny')?.token ?? '');
    await discord.waitFor(() =>
      discord.said(miaDm).some(({ text }) => text.includes(`round ${round}`) && /Denied/.test(text)),
    );
  }
  await product.hears(owner, /Agent/);
  await eventually(async () =>
    expect(await product.database.query(`select 1 from outbox where state in ('pending', 'sending')`)).toEqual([]),
  );

  const secrets = [
    slack.botToken,
    slack.appToken,
    discord.token,
    product.telegram.token,
    product.telegram.token.split(':')[1] ?? '',
    'aW50ZXJhY3Rpb24',
    new URL('/response', slack.apiUrl).href,
    'ticket=',
    ...codes,
    'sk-test',
  ];
  const log = product.output;
  expect(secrets.filter((secret) => log.includes(secret))).toEqual([]);
  const tables = await product.database.query<{ table_name: string; column_name: string }>(
    `select table_name, column_name from information_schema.columns
     where table_schema = current_schema() and data_type in ('text', 'jsonb', 'json', 'ARRAY', 'character varying')`,
  );
  const found: string[] = [];
  for (const { table_name: table, column_name: column } of tables) {
    if (homes.has(`${table}.${column}`)) continue;
    const rows = await product.database.query<{ all: string | null }>(
      `select string_agg("${column}"::text, ' ') as all from "${table}"`,
    );
    for (const secret of secrets)
      if (rows[0]?.all?.includes(secret) === true) found.push(`${table}.${column}: ${secret}`);
  }
  expect(found).toEqual([]);
  expect(JSON.stringify(product.model.requests)).not.toContain('aW50ZXJhY3Rpb24');
});
