import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { slackManifest } from '#bots/slack/manifest.ts';
import { normaliseSlack } from '#bots/slack/normalise-slack.ts';
import { eventScopes, methodScopes, requiredScopes } from '#bots/slack/slack-methods.ts';
import { commandList } from '#core/commands/command-list.ts';
import { checkManifest } from '../../fakes/slack/check-manifest.ts';
import { scopesOf } from '../../fakes/slack/web-methods.ts';

const options = { commands: commandList, publicUrl: undefined, hasDmThreads: true };
const folder = path.resolve(import.meta.dirname, '../../../bots/slack');
const sources = readdirSync(folder)
  .filter((name) => name !== 'slack-methods.ts')
  .map((name) => readFileSync(path.join(folder, name), 'utf8'))
  .join('\n');

describe('the manifest', () => {
  test.each([
    ['for Socket Mode', options],
    ['for web hooks', { ...options, publicUrl: 'https://agents.example.com/' }],
    ['without the agent view', { ...options, hasDmThreads: false }],
  ])('%s is one that Slack takes', (_what, given) => {
    expect(checkManifest(slackManifest(given))).toEqual([]);
  });

  test('by web hooks it names our address everywhere, by Socket Mode nowhere', () => {
    const manifest = slackManifest({ ...options, publicUrl: 'https://agents.example.com/' });
    const url = 'https://agents.example.com/hooks/slack/events';
    expect(manifest.settings).toMatchObject({
      socket_mode_enabled: false,
      event_subscriptions: { request_url: url },
      interactivity: { request_url: url },
    });
    expect(manifest.features.slash_commands.every((command) => 'url' in command && command.url === url)).toBe(true);
    expect(JSON.stringify(slackManifest(options))).not.toContain('request_url');
  });

  test('every command has its slash command, with hints, and none has a name of Slack’s own', () => {
    const names = slackManifest(options).features.slash_commands.map(({ command }) => command);
    expect(names.length).toBe(commandList.length);
    expect(names).toContain('/run');
    expect(names).toContain('/bot-status');
    expect(names).not.toContain('/status');
    expect(slackManifest(options).features.slash_commands.find(({ command }) => command === '/run')).toMatchObject({
      usage_hint: '<task>',
    });
  });

  test('every slash command comes back as the command it stands for', () => {
    const names = slackManifest(options).features.slash_commands.map(({ command }) => {
      const body = { command, text: '', user_id: 'U1', channel_id: 'C1', trigger_id: 't' };
      const raw = { bot: { teamId: 'T1', userId: 'U0' }, account: 'a', hasDmThreads: true, receivedAt: 1, body };
      const [event] = normaliseSlack(raw);
      return event?.type === 'command' ? event.name : '';
    });
    expect(names).toEqual(commandList.map(({ name }) => name));
  });
});

describe('scopes', () => {
  test('every method that is called has its scopes in the table, and none is there that is not called', () => {
    const called = new Set([...sources.matchAll(/'((?:[a-z]+\.)+[a-zA-Z]+)'/g)].map((match) => match[1] ?? ''));
    expect(Object.keys(methodScopes).filter((method) => !called.has(method))).toEqual([]);
  });

  test('the table agrees with what Slack asks for', () => {
    for (const [method, scopes] of Object.entries(methodScopes)) {
      const wanted = scopesOf[method] ?? [];
      expect([method, wanted.length === 0 || scopes.some((scope) => wanted.includes(scope))]).toEqual([method, true]);
    }
  });

  test('every event that is read is subscribed to, and every subscription is read', () => {
    const read = [...sources.matchAll(/case '([a-z_]+)':|event\??\.type === '([a-z_]+)'/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    );
    for (const event of Object.keys(eventScopes)) {
      const type = event.startsWith('message.') ? 'message' : event;
      expect([event, read.includes(type)]).toEqual([event, true]);
    }
  });

  test('the manifest asks for all of them', () => {
    const granted: readonly string[] = slackManifest({ ...options, hasDmThreads: false }).oauth_config.scopes.bot;
    expect(granted).toEqual(requiredScopes());
    for (const scope of [
      'app_mentions:read',
      'chat:write',
      'commands',
      'files:read',
      'files:write',
      'im:history',
      'reactions:write',
      'users:read',
    ]) {
      expect(granted).toContain(scope);
    }
  });
});
