import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { type SeenMessage as DiscordMessage, FakeDiscord } from '../fakes/discord/fake-discord.ts';
import { FakeSlack } from '../fakes/slack/fake-slack.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

/** The owner is on Telegram, an admin on Slack, and a member asks on Discord. */
let product: Product;
let slack: FakeSlack;
let discord: FakeDiscord;
const ada = 'U100ADA';
const mia = '600000000000000007';
let adaDm: string;
let miaDm: string;

beforeAll(async () => {
  slack = await FakeSlack.start({ limits: { triggerMs: 30_000 } });
  discord = await FakeDiscord.start({ times: { answerMs: 30_000 } });
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [ask_person, exec]
grants:
  - allow: person.ask
  - ask: tool.exec`,
      },
    ],
    script: scriptedBrain,
    env: {
      SLACK_BOT_TOKEN: slack.botToken,
      SLACK_APP_TOKEN: slack.appToken,
      SLACK_API_URL: slack.apiUrl,
      DISCORD_BOT_TOKEN: discord.token,
      DISCORD_API_URL: discord.apiUrl,
    },
  });
  adaDm = slack.people.dm(ada);
  miaDm = discord.people.dm(mia);
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
  slack.people.says(adaDm, ada, await codeFor('admin'));
  await slack.waitFor(() => slack.said(adaDm).some(({ text }) => text.includes('We are paired')));
  discord.people.says(miaDm, mia, `/start ${await codeFor('member')}`);
  await discord.waitFor(() => discord.said(miaDm).some(({ text }) => text.includes('We are paired')));
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
  await slack[Symbol.asyncDispose]();
  await discord[Symbol.asyncDispose]();
});

async function codeFor(role: 'admin' | 'member'): Promise<string> {
  const { stdout } = await product.cli(['pair', '--role', role, '--json']);
  return (JSON.parse(stdout) as { code: string }).code;
}

function miaSays(text: string): void {
  discord.people.says(miaDm, mia, text);
}

/** A person takes longer to reply than a worker to note what the platform called its message; a test does not. */
async function allRecorded(): Promise<void> {
  await eventually(async () => {
    const open = `select 1 from outbox where key like 'approval:%' and state in ('pending', 'sending')`;
    expect(await product.database.query(open)).toEqual([]);
  });
}

async function onDiscord(pattern: RegExp): Promise<DiscordMessage> {
  return await discord.waitFor(() => discord.said(miaDm).findLast(({ text }) => pattern.test(text)));
}

async function onSlack(pattern: RegExp): Promise<ReturnType<FakeSlack['said']>[number]> {
  return await slack.waitFor(() => slack.said(adaDm).findLast(({ text }) => pattern.test(text)));
}

/** The private answers a person on Slack got to presses. */
function slackWhispers(): string[] {
  return slack.transcript(adaDm).flatMap(({ onlyFor, text }) => (onlyFor === ada ? [text] : []));
}

test('an admin on Slack denies with a reason in a form; Discord and Telegram show it', async () => {
  miaSays('exec: touch from-discord.txt');
  await onDiscord(/asks: may I do this\?[\s\S]*from-discord\.txt/);
  await product.hears(owner, /asks from a discord private chat[\s\S]*from-discord\.txt/);
  await onSlack(/asks from a discord private chat[\s\S]*from-discord\.txt/);
  slack.people.presses(ada, 'Deny with reason');
  await slack.waitFor(() => slack.world.modals.size > 0);
  slack.people.submits(ada, { words: 'use the shared folder' });
  await onDiscord(/Result: Denied by .*\. Reason: use the shared folder/);
  await onDiscord(/Denied.* by .*: use the shared folder/);
  await onSlack(/from-discord\.txt[\s\S]*Denied.*: use the shared folder/);
  await product.hears(owner, /from-discord\.txt[\s\S]*Denied by .*: use the shared folder/);
});

test('two approvers on two channels at once: one decides, the other reads who was first', async () => {
  miaSays('exec: echo raced-$((20+3))');
  const token = await product.telegram.waitFor(() =>
    product.telegram.said(owner).some(({ text }) => text.includes('raced-'))
      ? product.button(owner, 'Approve')
      : undefined,
  );
  await onSlack(/raced-/);
  const query = product.telegram.people.presses(owner, owner, token);
  slack.people.presses(ada, 'Approve');
  await onDiscord(/Result: [\s\S]*raced-23/);
  const onTelegram = await product.telegram.waitFor(
    () =>
      product.telegram.callsOf('answerCallbackQuery').find((call) => call.params['callback_query_id'] === query)
        ?.params,
  );
  const told = (): string[] => [String(onTelegram['text']), ...slackWhispers()].filter((text) => /pproved/.test(text));
  await slack.waitFor(() => told().some((text) => /^This was already approved by/.test(text)));
  const verdicts = await product.database.query(
    `select 1 from approval_verdict v join approval a on a.id = v.approval_id where a.summary like '%raced-%'`,
  );
  expect(verdicts).toHaveLength(1);
});

test('a press after a restart of everything is answered properly on each channel', async () => {
  miaSays('exec: echo again-$((30+4))');
  const card = await onDiscord(/again-[\s\S]*Risk/);
  await onSlack(/again-/);
  await allRecorded();
  await product.kill('up');
  await product.start('up');
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
  await slack.waitFor(() => slack.socketMode.openConnections > 0, 90_000);
  // The requester may not decide: a private word, and the buttons stay.
  const approve = card.buttons.find(({ label }) => label === 'Approve')?.token ?? '';
  discord.people.presses(miaDm, mia, approve);
  await discord.waitFor(() => discord.transcript(miaDm).some(({ text }) => /You may not decide this/.test(text)));
  slack.people.presses(ada, 'Approve');
  await onDiscord(/Result: [\s\S]*again-34/);
  const decided = await discord.waitFor(() =>
    discord.said(miaDm).find(({ id, text }) => id === card.id && /Approved.* by/.test(text)),
  );
  expect(decided.buttons.filter(({ isDisabled }) => !isDisabled)).toEqual([]);
  discord.people.pressesOn(miaDm, mia, card.id, approve);
  const refused = await product.database.query(`select 1 from audit_body where body ->> 'kind' = 'approval.refused'`);
  expect(refused.length).toBeGreaterThan(0);
});

test('a question on Discord is answered in a form of its own', async () => {
  miaSays('call: ask_person {"question":"Which colour?","choices":["red"]}');
  const card = await onDiscord(/asks: Which colour\?/);
  const press = discord.people.presses(
    miaDm,
    mia,
    card.buttons.find(({ label }) => label === 'Something else')?.token ?? '',
  );
  await discord.waitFor(() => discord.interaction(press).modal !== undefined);
  discord.people.submits(press, { words: 'a warm blue' });
  await onDiscord(/Result: .* answered: a warm blue/);
});

test('a question to somebody on another channel is answered there by just writing', async () => {
  miaSays(`call: ask_person {"question":"May I take the van?","to":"@Person 1001"}`);
  await product.hears(owner, /asks: May I take the van\?/);
  product.telegram.people.says(owner, owner, 'only until noon');
  await onDiscord(/Result: Person 1001 answered: only until noon/);
});

test('where it is too late for a form, a line asks and the next private message is the reason', async () => {
  miaSays('exec: touch too-late.txt');
  await onSlack(/too-late\.txt/);
  slack.faults.next('views.open', { kind: 'status', code: 200, description: 'expired_trigger_id' });
  slack.people.presses(ada, 'Deny with reason');
  await onSlack(/Why do you deny it\?/);
  slack.people.says(adaDm, ada, 'the disk is full');
  await onDiscord(/Result: Denied by .*\. Reason: the disk is full/);
  await onSlack(/too-late\.txt[\s\S]*Denied.*: the disk is full/);
});

test('a press whose answer the platform does not take any more decides once all the same', async () => {
  miaSays('exec: echo unacknowledged-$((50+5))');
  const card = await onDiscord(/unacknowledged-[\s\S]*Risk/);
  discord.faults.next('callback', { kind: 'status', code: 10_062, description: 'Unknown interaction' });
  // The requester may always take a request back.
  discord.people.presses(miaDm, mia, card.buttons.find(({ label }) => label === 'Deny')?.token ?? '');
  await discord.waitFor(() => discord.said(miaDm).some(({ id, text }) => id === card.id && /Denied.* by/.test(text)));
  const verdicts = await product.database.query(
    `select 1 from approval_verdict v join approval a on a.id = v.approval_id where a.summary like '%unacknowledged-%'`,
  );
  expect(verdicts).toHaveLength(1);
});

test('an announcement from Telegram reaches Slack and Discord and says so', async () => {
  product.telegram.people.says(owner, owner, '/announce level:warn The lab is closed on Monday.');
  await onSlack(/The lab is closed on Monday\./);
  await onDiscord(/The lab is closed on Monday\./);
  await product.hears(owner, /Announced: 3 delivered/);
});

test('a reply to the card decides it with a reason', async () => {
  miaSays('exec: echo replied-one');
  await onDiscord(/replied-one[\s\S]*Risk/);
  const onPhone = await product.telegram.waitFor(() =>
    product.telegram.said(owner).findLast(({ text }) => /asks from[\s\S]*replied-one/.test(text)),
  );
  await allRecorded();
  product.telegram.people.says(owner, owner, { text: 'Deny: not on the phone', replyTo: onPhone.id });
  await onDiscord(/Result: Denied by .*\. Reason: not on the phone/);

  miaSays('exec: echo replied-two');
  const card = await onDiscord(/replied-two[\s\S]*Risk/);
  await allRecorded();
  discord.people.says(miaDm, mia, 'deny, I found another way', { replyTo: card.id });
  await onDiscord(/Result: Denied by .*\. Reason: I found another way/);
});
