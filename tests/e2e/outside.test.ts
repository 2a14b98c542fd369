import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { HookServer, MailServer } from '../support/outside.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

let product: Product;
let hook: HookServer;
let mail: MailServer;
const secret = 'signed-with-this-secret';

beforeAll(async () => {
  hook = await HookServer.start();
  mail = await MailServer.start();
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [exec, notify]
grants:
  - ask: tool.exec
  - allow: message.send`,
      },
    ],
    script: scriptedBrain,
    env: { HOOK_SECRET: secret, SMTP_URL: mail.url, SMTP_FROM: 'switchyard@example.org' },
    yaml: `approvals:
  remind_after: 2s
  email: [oncall@example.org]
webhooks:
  - url: ${hook.url}/events
    secret_env: HOOK_SECRET
    allow_private: true
`,
  });
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
  await hook[Symbol.asyncDispose]();
  await mail[Symbol.asyncDispose]();
});

function says(text: string): void {
  product.telegram.people.says(owner, owner, text);
}

function callsOf(event: string): { readonly id: string; readonly data: Record<string, unknown> }[] {
  return hook.calls
    .filter((call) => call.headers['x-switchyard-event'] === event)
    .map((call) => JSON.parse(call.body) as { id: string; data: Record<string, unknown> });
}

test('a web hook hears of an answered turn, signed', async () => {
  says('say: done and dusted');
  await product.hears(owner, /done and dusted/);
  await eventually(() => expect(callsOf('turn.done')).toHaveLength(1));
  const [call] = hook.calls;
  const timestamp = String(call?.headers['x-switchyard-timestamp']);
  const expected = createHmac('sha256', secret).update(`${timestamp}.${call?.body}`).digest('hex');
  expect(call?.headers['x-switchyard-signature']).toBe(`v1=${expected}`);
  expect(hook.calls.map(({ body }) => body).join()).not.toContain('dusted');
});

test('a request nobody decides brings one reminder, one e-mail and one call, and the reminder still decides it', async () => {
  says('exec: echo stuck-$((1+1))');
  await product.hears(owner, /Still waiting since/);
  await mail.waitForMail();
  await eventually(() => expect(callsOf('approval.stuck')).toHaveLength(1));
  await product.presses(owner, owner, 'Approve', 'Still waiting since');
  await product.hears(owner, /Result: [\s\S]*stuck-2/);
  await eventually(() => expect(callsOf('approval.decided')).toHaveLength(1));
  await eventually(() => expect(callsOf('approval.requested')).toHaveLength(1));
  expect(mail.mails).toHaveLength(1);
  expect(mail.mails[0]?.to).toEqual(['oncall@example.org']);
  expect(callsOf('approval.stuck')).toHaveLength(1);
  expect(callsOf('approval.decided')[0]?.data).toMatchObject({ state: 'approved', tool: 'exec' });
  await product.telegram.waitFor(
    () => product.telegram.said(owner).filter(({ text }) => /stuck-[\s\S]*Approved by/.test(text)).length === 2,
  );
});

test('a broadcast from the command line reaches a person, names who it does not reach, and can be looked up', async () => {
  const sent = await product.cli([
    'broadcast',
    'send',
    'The build is red.',
    '--to',
    'owners',
    '@Nobody',
    '--level',
    'warn',
    '--json',
  ]);
  await product.hears(owner, /The build is red\./);
  const result = JSON.parse(sent.stdout) as { id: string; results: { target: string; state: string }[] };
  expect(result.results).toMatchObject([
    { target: 'owners', state: 'delivered' },
    { target: '@Nobody', state: 'failed' },
  ]);
  const shown = await product.cli(['broadcast', 'show', result.id]);
  expect(shown.stdout).toContain('1 delivered, 1 failed');
  const listed = await product.cli(['webhooks', 'list', '--json']);
  expect(listed.stdout).toContain('"state":"delivered"');
});

test('/announce tells everybody and reports back, and an agent’s sign of life is not sent', async () => {
  says('/announce We move at noon.');
  await product.hears(owner, /We move at noon\./);
  await product.hears(owner, /Announced: 1 delivered/);
  says('call: notify {"to":"here","text":"HEARTBEAT_OK"}');
  await product.hears(owner, /Result: Not sent/);
  says('call: notify {"to":"requester","text":"News for you.","level":"success"}');
  await product.hears(owner, /News for you\./);
});
