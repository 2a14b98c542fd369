import { expect, test } from 'vitest';
import { signedHeaders } from '../fakes/slack/event-push.ts';
import { FakeSlack, type SeenMessage } from '../fakes/slack/fake-slack.ts';
import { freePort } from '../support/free-port.ts';
import { Product, type ProductOptions } from '../support/product.ts';

const alice = 'U100ALICE';
const room = 'C100ROOM';

const worker = {
  name: 'assistant',
  frontMatter: `tools: [exec, read_file, write_file, list_files, search_files, memory_save, memory_search]
autonomy: supervised
grants:
  - allow: [file.*, memory.*]
  - ask: tool.exec`,
};

/** The product with a Slack workspace, in which Alice has paired as the owner. */
async function slackProduct(
  options: ProductOptions & { readonly hookPort?: number; readonly ackMs?: number } = {},
): Promise<{ product: Product; slack: FakeSlack } & AsyncDisposable> {
  const slack = await FakeSlack.start({ limits: { ackMs: options.ackMs ?? 15_000, triggerMs: 30_000 } });
  slack.people.channel(room, [alice]);
  const product = await Product.prepare({
    ...options,
    env: {
      SLACK_BOT_TOKEN: slack.botToken,
      SLACK_API_URL: slack.apiUrl,
      ...receiving(slack, options.hookPort),
      ...options.env,
    },
  });
  await product.start('up');
  const code = /\/start ([0-9A-Z]{4}-[0-9A-Z]{4})/.exec(product.output)?.[1];
  if (code === undefined) throw new Error(`no pairing code was printed:\n${product.output}`);
  slack.people.says(slack.people.dm(alice), alice, code);
  await hears(slack, slack.people.dm(alice), /We are paired/);
  return {
    product,
    slack,
    [Symbol.asyncDispose]: async () => {
      await product[Symbol.asyncDispose]();
      await slack[Symbol.asyncDispose]();
    },
  };
}

/** Socket Mode, or web hooks on a port. */
function receiving(slack: FakeSlack, port: number | undefined): Record<string, string> {
  if (port === undefined) return { SLACK_APP_TOKEN: slack.appToken };
  const url = `http://127.0.0.1:${port}`;
  slack.useHook(`${url}/hooks/slack/events`);
  return { SLACK_SIGNING_SECRET: slack.signingSecret, SWITCHYARD_PUBLIC_URL: url, SWITCHYARD_PORT: String(port) };
}

async function hears(
  slack: FakeSlack,
  channel: string,
  pattern: RegExp,
  options: { readonly thread?: string; readonly timeoutMs?: number } = {},
): Promise<SeenMessage> {
  return await slack.waitFor(
    () => slack.said(channel, options.thread).find(({ text, isStreaming }) => !isStreaming && pattern.test(text)),
    options.timeoutMs ?? 30_000,
  );
}

test('someone mentions the bot in a channel, approves the command in the thread and gets the answer there', async () => {
  await using stage = await slackProduct({
    agents: [worker],
    script: [
      {
        text: 'Let me look.',
        toolCalls: [{ name: 'exec', arguments: { command: 'echo made-$((40+2)) | tee made.txt' } }],
      },
      { text: `The command printed **made-42**. ${'And some more words. '.repeat(60)}`, delayMs: 40 },
    ],
  });
  const { slack } = stage;
  const thread = slack.people.mentions(room, alice, 'make the file, please');
  await slack.waitFor(() =>
    slack.said(room, thread).some(({ buttons }) => buttons.some(({ label }) => label === 'Approve')),
  );
  slack.people.presses(alice, 'Approve');
  await hears(slack, room, /The command printed \*\*made-42\*\*/, { thread, timeoutMs: 40_000 });

  expect(slack.said(room).every(({ threadTs }) => threadTs === thread)).toBe(true);
  const card = await slack.waitFor(() => slack.said(room, thread).find(({ text }) => text.includes('Approved')));
  expect(card.text).toMatch(/Approved.* by person U100ALICE/);
  expect(card.buttons).toEqual([]);
  // It grew before it was finished, and nothing is left half open.
  expect(slack.callCounts.get('chat.startStream')).toBeGreaterThanOrEqual(1);
  expect(slack.said(room).some(({ isStreaming }) => isStreaming)).toBe(false);
});

test('a task given in a channel works in a thread of its own, and a status asked for in the thread is told there', async () => {
  await using stage = await slackProduct({ agents: [worker], script: [{ text: 'The report is ready.' }] });
  const { slack } = stage;
  slack.people.slashCommand(room, alice, '/run', 'write the report');
  const answer = await hears(slack, room, /The report is ready/);
  const root = slack.transcript(room).find(({ ts }) => ts === answer.threadTs);
  expect(root).toMatchObject({ from: 'bot', text: expect.stringContaining('write the report') });
  expect(slack.push.pushes.every(({ isGivenUp }) => !isGivenUp)).toBe(true);

  const thread = answer.threadTs ?? '';
  slack.people.mentions(room, alice, 'status', { thread });
  await hears(slack, room, /Agent \*\*assistant\*\*/, { thread });

  // What people say to each other in another thread is none of the bot's business; in this one it listens.
  const lunch = slack.people.says(room, alice, 'who is hungry?');
  slack.people.says(room, alice, 'me!', { thread: lunch });
  slack.people.says(room, alice, 'and make it shorter', { thread });
  await slack.waitFor(
    () => slack.said(room, thread).filter(({ text }) => text.includes('report is ready')).length === 2,
  );
  expect(slack.said(room, lunch)).toEqual([]);
  expect(stage.product.model.requests.length).toBe(2);
});

test('a gateway that dies between storing and acknowledging loses nothing and answers once', async () => {
  // What was not acknowledged comes again soon.
  await using stage = await slackProduct({ agents: [worker], script: [{ text: 'Here I am.' }], ackMs: 3_000 });
  const { product, slack } = stage;
  await product.kill('up', 'SIGTERM');
  await product.start('gateway', { FAIL_AT: 'inbox.committed' });
  await slack.waitFor(() => slack.socketMode.openConnections > 0, 90_000);
  const thread = slack.people.mentions(room, alice, 'are you there?');
  expect(await product.ended('gateway')).toBe('SIGKILL');
  expect(slack.push.pushes.some(({ ackedAt, tries }) => tries.length > 0 && ackedAt === undefined)).toBe(true);
  await product.start('up');
  await hears(slack, room, /Here I am/, { thread });
  await slack.waitFor(() => slack.push.pushes.every(({ ackedAt }) => ackedAt !== undefined));
  expect(slack.said(room, thread).filter(({ text }) => text.includes('Here I am')).length).toBe(1);
  expect(product.model.requests.length).toBe(1);
});

test('the home page shows what needs a person, and a decision there goes through', async () => {
  await using stage = await slackProduct({
    agents: [worker],
    script: [
      { text: 'Let me look.', toolCalls: [{ name: 'exec', arguments: { command: 'echo from-home' } }] },
      { text: 'It was denied.' },
    ],
  });
  const { slack } = stage;
  const thread = slack.people.mentions(room, alice, 'run it');
  await slack.waitFor(() => slack.said(room, thread).some(({ buttons }) => buttons.length > 0));
  slack.people.opensHome(alice);
  const page = () => JSON.stringify(slack.world.homes.get(alice)?.view ?? {});
  await slack.waitFor(() => page().includes('from-home') && page().includes('Budgets'));
  const blocks = slack.world.homes.get(alice)?.view['blocks'] as Record<string, unknown>[];
  const deny = blocks
    .flatMap((block) => (block['elements'] as { value?: string; text?: { text?: string } }[] | undefined) ?? [])
    .find(({ text }) => text?.text === 'Deny');
  slack.people.presses(alice, deny?.value ?? '');
  await hears(slack, room, /It was denied/, { thread, timeoutMs: 30_000 });
  await slack.waitFor(() => page().includes('Nothing waits for your decision'));
});

test('a denial with a reason is asked for in a form, and the agent reads it', async () => {
  await using stage = await slackProduct({
    agents: [worker],
    script: [
      { text: 'Let me look.', toolCalls: [{ name: 'exec', arguments: { command: 'rm -rf build' } }] },
      { text: 'Then I leave it.' },
    ],
  });
  const { product, slack } = stage;
  const thread = slack.people.mentions(room, alice, 'clean up');
  const label = await slack.waitFor(
    () =>
      slack
        .said(room, thread)
        .flatMap(({ buttons }) => buttons)
        .find((button) => /^Deny.+/.test(button.label))?.label,
  );
  slack.people.presses(alice, label);
  const modal = await slack.waitFor(() => [...slack.world.modals.values()].at(-1));
  const field = String((modal.view['blocks'] as { block_id: string }[])[0]?.block_id);
  slack.people.submits(alice, { [field]: 'the build is still needed' });
  await hears(slack, room, /Then I leave it/, { thread, timeoutMs: 30_000 });
  expect(JSON.stringify(product.model.requests.at(-1)?.body)).toContain('the build is still needed');
  await slack.waitFor(() =>
    slack.said(room, thread).some(({ text }) => text.includes('Denied') && text.includes('the build is still needed')),
  );
});

test('by web hooks the same story goes through the gateway’s own port, and a forged request does not', async () => {
  const port = await freePort();
  await using stage = await slackProduct({ hookPort: port, agents: [worker], script: [{ text: 'Here I am.' }] });
  const { product, slack } = stage;
  const body = JSON.stringify({ type: 'event_callback', event_id: 'Ev1', event: { type: 'message', text: 'forged' } });
  const forged = await fetch(`http://127.0.0.1:${port}/hooks/slack/events`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      ...signedHeaders(body, { secret: 'f'.repeat(32), nowMs: Date.now() }),
    },
  });
  expect(forged.status).toBe(401);
  const thread = slack.people.mentions(room, alice, 'are you there?');
  await hears(slack, room, /Here I am/, { thread });
  expect(slack.socketMode.opened).toBe(0);
  await slack.waitFor(() => slack.push.pushes.every(({ ackedAt }) => ackedAt !== undefined));
  expect(product.model.requests.length).toBe(1);
});
