import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import type { HookNews } from '#workers/hooks/hook-news.ts';
import { trajectoryLogHook } from '#workers/hooks/trajectory-log.ts';
import { hookCall } from '../../support/hook-call.ts';

const { agent, work } = hookCall();

function openLog(options: { readonly bytesMax?: number; readonly filesMax?: number } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-trajectories-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const secrets = createSecretBook();
  secrets.replace('test', [{ label: 'the key', value: 'correct-horse-battery' }]);
  const file = path.join(folder, 'deep', 'turns.jsonl');
  const hook = trajectoryLogHook(
    { redactor: createRedactor({ secrets }) },
    { file, bytesMax: 1_000_000, filesMax: 3, ...options },
  );
  return { file, tell: async (input: string) => await hook.news?.tell(trajectory(input)) };
}

function trajectory(input: string): HookNews {
  return {
    kind: 'turn_trajectory',
    agent,
    work,
    state: 'done',
    droppedSteps: 0,
    steps: [{ kind: 'tool', tool: 'exec', input, at: new Date(0), outcome: 'ok', ms: 12, outputChars: 3 }],
  };
}

test('each turn is one line of JSON, without secrets, for the owner of the file alone', async () => {
  const { file, tell } = openLog();
  await tell('{"command":"ls"}');
  await tell('{"command":"login correct-horse-battery"}');
  const text = readFileSync(file, 'utf8');
  expect(text).not.toContain('correct-horse-battery');
  const lines = text.trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    {
      at: expect.stringMatching(/^\d{4}-/),
      event: 'turn_trajectory',
      agent: 'assistant',
      turn: work.turnId,
      channel: 'telegram',
      state: 'done',
      steps: [{ tool: 'exec', input: '{"command":"ls"}', ms: 12, outcome: 'ok' }],
    },
    { steps: [{ input: expect.stringContaining('redacted') }] },
  ]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a full file is put aside, and no more files are kept than were asked for', async () => {
  const { file, tell } = openLog({ bytesMax: 2_000 });
  for (let turn = 0; turn < 40; turn++) await tell(`turn ${turn}`);
  const folder = path.dirname(file);
  expect(readdirSync(folder).sort()).toEqual(['turns.jsonl', 'turns.jsonl.1', 'turns.jsonl.2']);
  for (const name of readdirSync(folder)) expect(statSync(path.join(folder, name)).size).toBeLessThanOrEqual(2_000);
  const kept = ['turns.jsonl.2', 'turns.jsonl.1', 'turns.jsonl']
    .flatMap((name) => readFileSync(path.join(folder, name), 'utf8').trimEnd().split('\n'))
    .map((line) => Number(/turn (\d+)/.exec(line)?.[1]));
  // The newest, in their order, and none of them twice.
  expect(kept).toEqual(kept.map((_, index) => 40 - kept.length + index));
});

test('a log of one file begins anew when it is full', async () => {
  const { file, tell } = openLog({ bytesMax: 1_000, filesMax: 1 });
  for (let turn = 0; turn < 10; turn++) await tell(`turn ${turn}`);
  expect(readdirSync(path.dirname(file))).toEqual(['turns.jsonl']);
  expect(statSync(file).size).toBeLessThanOrEqual(1_000);
  expect(readFileSync(file, 'utf8')).toContain('turn 9');
});
