import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeInvalidSetting, readSetVariables } from '#app/config.ts';
import { openQuestions } from '#cli/questions.ts';
import { checkSetup, runSetup } from '#cli/setup/run-setup.ts';
import { type FakeTerminal, openFakeTerminal } from '#tests/support/fake-terminal.ts';

const good = {
  openai: 'sk-good',
  telegram: '123:good',
  slackBot: 'xoxb-good',
  slackApp: 'xapp-good',
  discord: 'good.bot.token',
};

/** The five platforms as far as the setup asks them. */
function startPlatforms(): Server {
  const server = createServer((request, response) => {
    const { url = '' } = request;
    const key = String(request.headers.authorization ?? request.headers['x-api-key'] ?? '').replace(/^\w+ /, '');
    const reply = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (url === '/v1/models') return reply(key === good.openai ? 200 : 401, {});
    if (url.startsWith('/bot')) {
      const isGood = url === `/bot${good.telegram}/getMe`;
      return reply(isGood ? 200 : 401, isGood ? { ok: true, result: { username: 'my_bot' } } : { ok: false });
    }
    if (url === '/slack/auth.test') {
      const ok = key === good.slackBot;
      return reply(200, ok ? { ok, team: 'Acme', user: 'bot' } : { ok, error: 'invalid_auth' });
    }
    if (url === '/slack/apps.connections.open') {
      const ok = key === good.slackApp;
      return reply(200, ok ? { ok } : { ok, error: 'missing_scope' });
    }
    if (url.startsWith('/discord/v10/') && key !== good.discord) return reply(401, {});
    if (url === '/discord/v10/users/@me') return reply(200, { username: 'helper' });
    if (url === '/discord/v10/applications/@me') return reply(200, { flags: 0 });
    return reply(404, {});
  });
  return server.listen(0, '127.0.0.1');
}

let folder: string;
let server: Server;
let env: Record<string, string>;
let terminal: FakeTerminal;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sw-setup-'));
  server = startPlatforms();
  await new Promise((resolve) => server.once('listening', resolve));
  const root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  env = {
    OPENAI_BASE_URL: `${root}/v1`,
    TELEGRAM_API_ROOT: root,
    SLACK_API_URL: `${root}/slack/`,
    DISCORD_API_URL: `${root}/discord`,
  };
  terminal = openFakeTerminal(120, 60);
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

const deps = (isTerminal = true) => ({
  terminal: { stdout: terminal.stdout, stderr: terminal.stdout, hasColour: false },
  openQuestions: () =>
    isTerminal
      ? openQuestions({ stdin: terminal.stdin, stdout: terminal.stdout, signal: new AbortController().signal })
      : undefined,
  readVariables: () => readSetVariables(env, folder),
  describeInvalid: describeInvalidSetting,
});

/** Answers each question when it is asked. */
async function answers(steps: readonly (readonly [question: string, answer: string])[]): Promise<void> {
  let seen = 0;
  for (const [question, answer] of steps) {
    await expect.poll(() => terminal.raw().indexOf(question, seen), { interval: 5 }).not.toBe(-1);
    seen = terminal.raw().indexOf(question, seen) + question.length;
    terminal.type(`${answer}\r`);
  }
}

const envText = () => readFileSync(path.join(folder, '.env'), 'utf8');

describe('the setup', () => {
  it('asks, checks each key with whoever gave it out, and writes what is accepted for its owner alone', async () => {
    writeFileSync(path.join(folder, '.env'), '# my notes\nLOG_LEVEL=debug\n', { mode: 0o644 });
    const done = runSetup(deps(), { again: false });
    await answers([
      ['Set it up now?', 'y'],
      ['Which one?', ''],
      ['Key for OpenAI', 'sk-bad'],
      ['Key for OpenAI', good.openai],
      ['Set it up now?', 'yes'],
      ['Bot token', 'no token at all'],
      ['Bot token', good.telegram],
      ['Set it up now?', 'y'],
      ['xoxb-', good.slackBot],
      ['xapp-', good.slackApp],
      ['Set it up now?', 'y'],
      ['Bot token', good.discord],
    ]);
    await done;
    expect(parseEnv(envText())).toEqual({
      LOG_LEVEL: 'debug',
      OPENAI_API_KEY: good.openai,
      TELEGRAM_BOT_TOKEN: good.telegram,
      SLACK_BOT_TOKEN: good.slackBot,
      SLACK_APP_TOKEN: good.slackApp,
      DISCORD_BOT_TOKEN: good.discord,
    });
    expect(envText()).toContain('# my notes');
    expect(statSync(path.join(folder, '.env')).mode & 0o777).toBe(0o600);
    await expect.poll(() => terminal.raw()).toContain('Start with');
    const shown = terminal.raw();
    for (const key of [...Object.values(good), 'sk-bad']) expect(shown).not.toContain(key);
    expect(shown).toContain('OpenAI refuses this key');
    expect(shown).toContain('Connected as @my_bot');
    expect(shown).toContain('Connected to Acme as bot');
    expect(shown).toContain('Message Content Intent');
  });

  it('never means never, skip means later, and --again asks anyway', async () => {
    const first = runSetup(deps(), { again: false });
    await answers([
      ['Set it up now?', 'never'],
      ['Set it up now?', 's'],
      ['Set it up now?', 'n'],
      ['Set it up now?', ''],
    ]);
    await first;
    expect(envText()).toContain('does not ask for: model, slack');
    terminal = openFakeTerminal(120, 60);
    const second = runSetup(deps(), { again: false });
    await answers([
      ['Set it up now?', 's'],
      ['Set it up now?', 's'],
    ]);
    await second;
    await expect.poll(() => terminal.raw().match(/you said never/g)).toHaveLength(2);
    terminal = openFakeTerminal(120, 60);
    const third = runSetup(deps(), { again: true });
    await answers(Array.from({ length: 4 }, () => ['Set it up now?', 's'] as const));
    await third;
    expect(envText()).not.toContain('does not ask for');
  });

  it('what works already is not asked for again; what is refused is', async () => {
    writeFileSync(path.join(folder, '.env'), `OPENAI_API_KEY=${good.openai}\nTELEGRAM_BOT_TOKEN=999:revoked\n`);
    const done = runSetup(deps(), { again: false });
    await answers([
      ['Set it anew?', 'y'],
      ['Bot token', good.telegram],
      ['Set it up now?', 's'],
      ['Set it up now?', 's'],
    ]);
    await done;
    expect(parseEnv(envText())).toEqual({ OPENAI_API_KEY: good.openai, TELEGRAM_BOT_TOKEN: good.telegram });
  });

  it('half of what Slack needs is not kept', async () => {
    const done = runSetup(deps(), { again: false });
    await answers([
      ['Set it up now?', 's'],
      ['Set it up now?', 's'],
      ['Set it up now?', 'y'],
      ['xoxb-', good.slackBot],
      ['xapp-', 'xapp-bad'],
      ['xapp-', ''],
      ['Set it up now?', 's'],
    ]);
    await done;
    await expect.poll(() => terminal.raw()).toContain('Nothing was changed');
    expect(terminal.raw()).toContain('needs both');
  });

  it('a platform that cannot be asked leaves the choice to the person', async () => {
    env['TELEGRAM_API_ROOT'] = 'http://127.0.0.1:9';
    const done = runSetup(deps(), { again: false });
    await answers([
      ['Set it up now?', 's'],
      ['Set it up now?', 'y'],
      ['Bot token', '7:unchecked'],
      ['Keep it unchecked?', 'y'],
      ['Set it up now?', 's'],
      ['Set it up now?', 's'],
    ]);
    await done;
    expect(parseEnv(envText())).toEqual({ TELEGRAM_BOT_TOKEN: '7:unchecked' });
  });

  it('without a terminal it says what to do instead', async () => {
    await expect(runSetup(deps(false), { again: false })).rejects.toMatchObject({
      code: 'command.invalid',
      mend: expect.stringContaining('--no-input'),
    });
  });
});

it.each(['OPENAI', 'ANTHROPIC', 'GROQ'] as const)(
  'a key for %s is checked the way its platform wants',
  async (name) => {
    const root = env['TELEGRAM_API_ROOT'] ?? '';
    env = { [`${name}_BASE_URL`]: name === 'ANTHROPIC' ? root : `${root}/v1`, [`${name}_API_KEY`]: good.openai };
    await checkSetup(deps(false));
    env[`${name}_API_KEY`] = 'sk-wrong';
    await expect(checkSetup(deps(false))).rejects.toMatchObject({ code: 1 });
  },
);

describe('the setup that asks nothing', () => {
  it('is content with nothing, and writes nothing', async () => {
    await checkSetup(deps(false));
    await expect.poll(() => terminal.raw().match(/not set up/g)).toHaveLength(4);
    expect(() => envText()).toThrow();
  });

  it('fails only for what is certainly wrong', async () => {
    env = {
      ...env,
      TELEGRAM_BOT_TOKEN: good.telegram,
      SLACK_BOT_TOKEN: good.slackBot,
      SLACK_API_URL: 'http://127.0.0.1:9',
    };
    await checkSetup(deps(false));
    env['TELEGRAM_BOT_TOKEN'] = '1:revoked';
    await expect(checkSetup(deps(false))).rejects.toMatchObject({ code: 1 });
    await expect.poll(() => terminal.raw()).toContain('Telegram refuses');
    expect(terminal.raw()).not.toContain('revoked');
  });
});
