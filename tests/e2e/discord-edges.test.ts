import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeDiscord, type SeenMessage } from '../fakes/discord/fake-discord.ts';
import type { FakeGuild } from '../fakes/discord/world.ts';
import { Product } from '../support/product.ts';
import { memoryAsker, scriptedBrain } from '../support/scripted-brain.ts';

const ann = '600000000000000001';
const ben = '600000000000000002';
const cat = '600000000000000003';

let discord: FakeDiscord;
let product: Product;
let guild: FakeGuild;
let room: string;

/** Ann owns the product, Ben is an admin, Cat a member; all are in one server. */
beforeAll(async () => {
  discord = await FakeDiscord.start({ times: { answerMs: 30_000 } });
  guild = discord.people.guild([ann, ben, cat]);
  room = discord.people.channel(guild);
  product = await Product.prepare({
    agents: [memoryAsker],
    script: scriptedBrain,
    env: { TELEGRAM_BOT_TOKEN: '', DISCORD_BOT_TOKEN: discord.token, DISCORD_API_URL: discord.apiUrl },
  });
  await started();
  for (const [person, role] of [
    [ann, 'owner'],
    [ben, 'admin'],
    [cat, 'member'],
  ] as const) {
    const { stdout } = await product.cli(['pair', '--role', role, '--json']);
    const dm = discord.people.dm(person);
    discord.people.says(dm, person, `/start ${(JSON.parse(stdout) as { code: string }).code}`);
    await heard(dm, /We are paired/);
  }
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
  await discord[Symbol.asyncDispose]();
});

async function started(): Promise<void> {
  await product.start('up');
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
}

async function heard(channel: string, pattern: RegExp): Promise<SeenMessage> {
  return await discord.waitFor(() =>
    discord.said(channel).find(({ text }) => !text.endsWith(' …') && pattern.test(text)),
  );
}

/** Names the bot in a channel. */
function mentions(channel: string, person: string, text: string): string {
  return discord.people.says(channel, person, `<@${discord.world.bot.id}> ${text}`);
}

interface Card {
  readonly id: string;
  readonly channel: string;
  /** What stands behind the Approve button. */
  readonly approve: string;
}

/** Waits for the card that asks about this. */
async function cardOf(channel: string, what: string): Promise<Card> {
  const card = await discord.waitFor(() =>
    discord.said(channel).find(({ text, buttons }) => text.includes(what) && buttons.length > 0),
  );
  const approve = card.buttons.find(({ label }) => label === 'Approve')?.token ?? '';
  return { id: card.id, channel, approve };
}

function enabled(card: Card): number {
  const message = discord.said(card.channel).find(({ id }) => id === card.id);
  return message?.buttons.filter(({ isDisabled }) => !isDisabled).length ?? 0;
}

function presses(person: string, card: Card): string {
  return discord.people.pressesOn(card.channel, person, card.id, card.approve);
}

/** What whoever pressed was told, and nobody else. */
async function told(interaction: string): Promise<string> {
  const { channelId } = discord.interaction(interaction);
  const answer = await discord.waitFor(() =>
    [...(discord.world.channels.get(channelId)?.messages.values() ?? [])].find(
      ({ interactionId, content }) => interactionId === interaction && content !== '',
    ),
  );
  expect(answer.onlyFor).toBe(discord.interaction(interaction).userId);
  return answer.content;
}

async function rows<T extends object>(sql: string, values: readonly unknown[] = []): Promise<readonly T[]> {
  return await product.database.query<T>(sql, [...values]);
}

async function turnsOf(place: string): Promise<readonly { readonly text: string; readonly state: string }[]> {
  return await rows(
    `select t.payload ->> 'text' as text, t.state from turn t join session s on s.id = t.session_id
     where s.thread_key like $1 order by t.seq`,
    [`%${place}%`],
  );
}

test('/stop ends the run at once and keeps what was written as a message', async () => {
  const dm = discord.people.dm(ann);
  discord.people.says(dm, ann, `endless: ${'word '.repeat(60).trim()}`);
  await discord.waitFor(() => discord.said(dm).some(({ text }) => /word word/.test(text)));
  await discord.waitFor(() => discord.world.commands.some(({ name }) => name === 'stop'));
  discord.people.slash(dm, ann, 'stop');
  await heard(dm, /Stopped\./);
  await discord.waitFor(() => discord.said(dm).every(({ text }) => !text.endsWith('…')));
  expect(discord.said(dm).filter(({ text }) => text.includes('word word'))).toHaveLength(1);
  await product.rests();
  const [run] = await rows<{ state: string; took: number }>(
    `select t.state, extract(epoch from t.finished_at - i.received_at)::float8 as took
     from turn t, inbox i where t.payload ->> 'text' like 'endless:%' and i.raw::text like '%"name": "stop"%'`,
  );
  expect(run?.state).toBe('cancelled');
  expect(run?.took).toBeLessThan(10);
});

test('whoever may not decide is told alone, and two approvers at once decide once', async () => {
  mentions(room, cat, 'call: memory_save {"text":"a heron"}');
  const card = await cardOf(room, 'a heron');
  expect(await told(presses(cat, card))).toMatch(/You may not decide this/);
  expect(enabled(card)).toBeGreaterThan(0);
  expect(await rows(`select 1 from audit_body where body ->> 'kind' = 'approval.refused'`)).toHaveLength(1);

  const answers = await Promise.all([presses(ann, card), presses(ben, card), presses(ben, card)].map(told));
  await heard(room, /Remembered: a heron/);
  expect(answers.filter((text) => /^Approved/.test(text))).toHaveLength(1);
  expect(answers.filter((text) => /^This was already approved by .+ at/.test(text))).toHaveLength(2);
  await discord.waitFor(() => enabled(card) === 0);
  const verdicts = `select 1 from approval_verdict v join approval a on a.id = v.approval_id where a.summary like '%heron%'`;
  expect(await rows(verdicts)).toHaveLength(1);
});

test('a button of before a restart whose time is over says so, and the card’s buttons are dead', async () => {
  mentions(room, ann, 'call: memory_save {"text":"an egret"}');
  const card = await cardOf(room, 'an egret');
  await product.kill('up');
  await rows(`update approval set created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
    where state = 'pending'`);
  await started();
  expect(await told(presses(ann, card))).toMatch(/This request expired at/);
  await discord.waitFor(() => enabled(card) === 0);
  expect(discord.said(room).find(({ id }) => id === card.id)?.text).toContain('Expired');
  expect(discord.said(room).some(({ text }) => /Remembered: an egret/.test(text))).toBe(false);
});

test('what waits is asked as it reads now, and not at all once it is deleted', async () => {
  const dm = discord.people.dm(ben);
  discord.people.says(dm, ben, '/queue followup');
  await heard(dm, /Queue mode `followup`/);
  discord.people.says(dm, ben, 'call: memory_save {"text":"a crane"}');
  const card = await cardOf(dm, 'a crane');
  const edited = discord.people.says(dm, ben, 'say: paint it blue');
  const deleted = discord.people.says(dm, ben, 'say: burn it');
  const waiting = async (): Promise<readonly string[]> =>
    (await turnsOf(dm)).flatMap(({ text, state }) => (state === 'queued' ? [text] : []));
  await expect.poll(waiting).toEqual(['say: paint it blue', 'say: burn it']);
  discord.people.edits(dm, edited, 'say: paint it green');
  discord.people.deletes(dm, deleted);
  await expect.poll(waiting).toEqual(['say: paint it green']);
  presses(ben, card);
  await heard(dm, /^paint it green$/);
  await product.rests();
  expect((await turnsOf(dm)).map(({ state }) => state)).toEqual(['done', 'done', 'cancelled']);
  expect(discord.said(dm).some(({ text }) => /paint it blue|burn it/.test(text))).toBe(false);
});

test('a bot that is removed from a server gives up what waits for its rooms, and works there once it is back', async () => {
  const asked = product.model.requests.length;
  mentions(room, ann, 'slow: the long answer of before');
  await expect.poll(() => product.model.requests.length).toBeGreaterThan(asked);
  discord.people.kicksBot(guild);
  const state = async (): Promise<string | undefined> =>
    (await rows<{ state: string }>('select state from channel_room where room = $1', [room]))[0]?.state;
  await expect.poll(state).toBe('left');
  const run = async (): Promise<string | undefined> =>
    (await turnsOf(room)).find(({ text }) => text.includes('the long answer of before'))?.state;
  await expect.poll(run).toBe('done');
  const dead = async (): Promise<readonly string[]> =>
    (
      await rows<{ last_error: string }>(
        `select last_error from outbox where state = 'dead' and body::text like '%the long answer of before%'`,
      )
    ).map(({ last_error: why }) => why);
  await expect.poll(dead).toEqual([expect.stringMatching(/the bot was removed|cannot see this channel/)]);
  await heard(discord.people.dm(ann), /I was removed from the discord room/);

  discord.people.invitesBot(guild);
  await expect.poll(state).toBe('active');
  mentions(room, ann, 'say: back again');
  await heard(room, /^back again$/);
  expect(discord.said(room).some(({ text }) => text === 'the long answer of before')).toBe(false);
});

test('right-to-left words are shown as they were written', async () => {
  const words = '**שלום** עולם, مرحبا 👩‍👩‍👧 `קוד()` (v2) ~~لا~~';
  const dm = discord.people.dm(cat);
  discord.people.says(dm, cat, `say: ${words}`);
  expect((await heard(dm, /لا/)).text).toBe(words);
});
