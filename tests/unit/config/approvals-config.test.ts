import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { webhookEvents } from '#core/webhooks/webhook.ts';

let project = '';

beforeEach(() => {
  project = mkdtempSync(path.join(tmpdir(), 'switchyard-config-'));
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

function load(yaml: string, env: Record<string, string> = {}): ReturnType<typeof loadConfig> {
  writeFileSync(path.join(project, 'team.yaml'), yaml);
  return loadConfig({ SWITCHYARD_CONFIG: 'team.yaml', ...env }, project);
}

function refusal(yaml: string, env: Record<string, string> = {}): string {
  try {
    load(yaml, env);
  } catch (err) {
    return err instanceof Error ? err.message : String(err);
  }
  throw new Error('the settings were accepted');
}

test('nothing set reminds after ten minutes, tells nobody outside and announces to rooms and people', () => {
  const config = loadConfig({}, project);
  expect(config.approvals).toEqual({
    notify: undefined,
    remindAfterMs: 600_000,
    escalateAfterMs: undefined,
    escalateTo: [],
    emails: [],
  });
  expect(config).toMatchObject({ webhooks: [], mail: undefined, announceTo: ['rooms', 'people'] });
});

test('spans, targets and web hooks are read, and the secret comes from the environment', () => {
  const secret = 'sixteen-characters-or-more';
  const config = load(
    `approvals: { notify: [approvers, 'slack:C01'], remind_after: off, escalate_after: 2h, escalate_to: ['@Anna'], email: [a@example.org] }
webhooks: [{ url: 'https://example.org/hook', secret_env: HOOK_SECRET }]
`,
    { HOOK_SECRET: secret, SMTP_URL: 'smtp://mail.example.org', SMTP_FROM: 'bot@example.org' },
  );
  expect(config.approvals).toEqual({
    notify: ['approvers', 'slack:C01'],
    remindAfterMs: undefined,
    escalateAfterMs: 7_200_000,
    escalateTo: ['@Anna'],
    emails: ['a@example.org'],
  });
  expect(config.webhooks).toEqual([
    { url: 'https://example.org/hook', events: [...webhookEvents], secret, allowsPrivate: false },
  ]);
  expect(config.mail).toEqual({ url: 'smtp://mail.example.org', from: 'bot@example.org' });
  expect(config.settings.find(({ name }) => name === 'SMTP_URL')?.value).toBe('set');
});

test('what would do nothing is refused with its mend', () => {
  const message = refusal(
    `approvals: { escalate_to: [owners], email: [a@example.org] }
webhooks: [{ url: 'https://example.org/hook', secret_env: HOOK_SECRET }]
`,
    { HOOK_SECRET: 'short' },
  );
  expect(message).toContain('HOOK_SECRET is too short');
  expect(message).not.toContain('"short"');
  expect(message).toContain('approvals.email is set, but SMTP_URL is not');
  expect(message).toContain('approvals.escalate_to is set, but approvals.escalate_after is not');
  expect(refusal('', { SMTP_URL: 'smtp://user:hunter2@mail' })).toMatch(/SMTP_FROM is not(?!.*hunter2)/);
});

test('wrong targets, spans and events are told with their place', () => {
  expect(refusal('approvals:\n  remind_after: soon\n')).toContain('team.yaml:2:17: approvals.remind_after');
  expect(refusal('approvals:\n  notify: [here]\n')).toMatch(/team\.yaml:2:12: approvals\.notify\.0: is written @name/);
  expect(refusal('webhooks:\n  - { url: https://a.example, events: [turn.dnoe], secret_env: X }\n')).toContain(
    'webhooks.0.events.0',
  );
});
