import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { awayFromMidnight } from '../support/away-from-midnight.ts';
import { pngOf } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

const diary = `
  import { appendFileSync } from 'node:fs';
  import { defineHooks, type ApprovalDecided, type JobClaimed, type ModelUsage } from 'switchyard/hooks';
  const note = (event: object): void =>
    appendFileSync(new URL('./told.jsonl', import.meta.url), JSON.stringify(event) + '\\n');
  export const hooks = defineHooks({
    name: 'diary',
    job_claimed: (event: JobClaimed) => note(event),
    job_completed: note,
    turn_trajectory: note,
    model_usage: (event: ModelUsage) => note(event),
    budget_warning: note,
    approval_requested: note,
    approval_decided: (event: ApprovalDecided) => note(event),
  });
`;

const eventSchema = z.looseObject({ event: z.string(), turn: z.string() });
type Told = z.infer<typeof eventSchema>;

/** A folder of hooks for one test. */
function folderWithDiary(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-hooks-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(path.join(folder, 'diary.ts'), diary);
  return folder;
}

test('a hook of a project is told of work, usage, budgets, approvals and what each turn did', async () => {
  await awayFromMidnight();
  const folder = folderWithDiary();
  await using product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [exec, memory_save]
model: openai:gpt-4o
autonomy: supervised
grants:
  - ask: tool.exec
  - ask: memory.*
output_tokens_max: 1000
budget: { daily_usd: 0.03 }`,
      },
    ],
    script: scriptedBrain,
    env: { SWITCHYARD_HOOKS_DIR: folder },
    yaml: 'hooks: { trajectory_log: { enabled: true } }\n',
  });
  const told = (): Told[] =>
    readFileSync(path.join(folder, 'told.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => eventSchema.parse(JSON.parse(line)));
  /** What is told of a turn, once its end is. */
  const turnTold = async (number: number): Promise<Told[]> =>
    await eventually(() => {
      const ended = told().filter(({ event }) => event === 'turn_trajectory')[number];
      expect(ended).toBeDefined();
      return told().filter(({ turn }) => turn === ended?.turn);
    });
  const kindsOf = (events: readonly Told[]): string[] => events.map(({ event }) => event);

  // Asked for, approved, done.
  product.telegram.people.says(owner, owner, 'call: memory_save {"text":"tea at four"}');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /^Result: /);
  const first = await turnTold(0);
  expect(kindsOf(first)).toEqual([
    'job_claimed',
    'model_usage',
    'approval_requested',
    'job_claimed',
    'approval_decided',
    'model_usage',
    'job_completed',
    'turn_trajectory',
  ]);
  expect(first).toMatchObject([
    { agent: 'assistant', channel: 'telegram', room: String(owner), kind: 'message', attempt: 1 },
    { model: 'openai:gpt-4o', inputTokens: 100, outputTokens: 20, isEstimated: false, usd: expect.closeTo(0.00045, 6) },
    { tool: 'memory_save', summary: expect.stringContaining('tea at four') },
    { attempt: 2 },
    { tool: 'memory_save', verdict: 'approved', by: expect.stringMatching(/./) },
    {},
    { state: 'done' },
    {
      state: 'done',
      droppedSteps: 0,
      steps: [
        { kind: 'model', calls: 1, inputTokens: 100 },
        { kind: 'tool', tool: 'memory_save', outcome: 'ok', ms: expect.any(Number), input: '{"text":"tea at four"}' },
        { kind: 'model', calls: 0 },
      ],
    },
  ]);
  expect(first[2]?.['approval']).toBe(first[4]?.['approval']);

  // Stopped half-way.
  product.telegram.people.says(owner, owner, 'endless: once upon a time');
  await eventually(() => expect(product.model.requests).toHaveLength(3));
  product.telegram.people.says(owner, owner, '/stop');
  const second = await turnTold(1);
  expect(second.filter(({ event }) => event === 'job_completed')).toMatchObject([{ state: 'cancelled' }]);

  // Too dear: warned, refused by a person, and at the end of the budget.
  product.telegram.people.says(owner, owner, 'dear: ls');
  await product.presses(owner, owner, 'Deny');
  const third = await turnTold(2);
  expect(kindsOf(third)).toEqual([
    'job_claimed',
    'model_usage',
    'budget_warning',
    'approval_requested',
    'job_claimed',
    'approval_decided',
    'job_completed',
    'turn_trajectory',
  ]);
  expect(third.slice(2)).toMatchObject([
    { period: 'daily', limitUsd: 0.03, spentUsd: expect.closeTo(0.026, 2) },
    { tool: 'exec' },
    {},
    { verdict: 'denied' },
    { state: 'failed', code: 'budget.exhausted' },
    { state: 'failed', steps: [{ kind: 'model' }, { kind: 'tool', tool: 'exec', outcome: 'refused' }] },
  ]);

  // The built-in log has the same turns, one line each, for the owner of the file alone.
  const log = path.join(product.folder, 'data/trajectories/turns.jsonl');
  const lines = await eventually(() => {
    const found = readFileSync(log, 'utf8').trimEnd().split('\n');
    expect(found).toHaveLength(3);
    return found.map((line) => eventSchema.parse(JSON.parse(line)));
  });
  expect(lines.map(({ turn, state }) => [turn, state])).toEqual(
    told()
      .filter(({ event }) => event === 'turn_trajectory')
      .map(({ turn, state }) => [turn, state]),
  );
  expect(statSync(log).mode & 0o777).toBe(0o600);
  expect((await product.cli(['config', 'check'])).stdout).toMatch(/trajectory-log +990 +built in/);
});

test('a picture that was drawn is told as usage, too', async () => {
  const folder = folderWithDiary();
  await using product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter:
          'tools: [generate_image]\nautonomy: autonomous\ngrants:\n  - allow: [image.generate, file.read, file.write]',
      },
    ],
    yaml: 'models:\n  images: { model: "openai:gpt-image-1", usd_per_image: 0.1 }\n',
    script: [
      { toolCalls: [{ name: 'generate_image', arguments: { prompt: 'a square', path: 'a.png' } }] },
      { text: 'Drawn.' },
    ],
    images: () => pngOf(8, 8),
    env: { SWITCHYARD_HOOKS_DIR: folder },
  });
  product.telegram.people.says(owner, owner, 'Draw a square');
  await product.hears(owner, /Drawn\./, 60_000);
  await eventually(() => {
    const usage = readFileSync(path.join(folder, 'told.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => eventSchema.parse(JSON.parse(line)))
      .filter(({ event }) => event === 'model_usage');
    expect(usage.map(({ model, usd }) => [model, usd])).toMatchObject([
      ['openai:gpt-4o', expect.any(Number)],
      ['openai:gpt-image-1', 0.1],
      ['openai:gpt-4o', expect.any(Number)],
    ]);
  });
});
