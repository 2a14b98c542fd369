import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import type { Hook } from '#workers/hooks/hook.ts';
import { type HookNews, type HookNewsKind, hookNewsKinds } from '#workers/hooks/hook-news.ts';
import { openUserHooks } from '#workers/hooks/user-hooks.ts';
import { hookCall } from '../../support/hook-call.ts';

const log = pino({ level: 'silent' });
const { agent, work } = hookCall();
const at = new Date('2026-01-02T03:04:05Z');

function claimed(attempt: number): HookNews {
  return { kind: 'job_claimed', agent, work, attempt };
}

function hook(name: string, tell: (news: HookNews) => Promise<void> | void, rest: Partial<Hook> = {}): Hook {
  const kinds: readonly HookNewsKind[] = ['job_claimed'];
  return { name, priority: 100, source: 'test', news: { kinds, tell }, ...rest };
}

test('a hook is told in order, one thing after the other, and nobody waits for it', async () => {
  const told: number[] = [];
  const open = Promise.withResolvers<void>();
  let busy = 0;
  const hooks = createHooks({ log }, [
    hook('slow', async (news) => {
      busy++;
      expect(busy).toBe(1);
      await open.promise;
      if (news.kind === 'job_claimed') told.push(news.attempt);
      busy--;
    }),
  ]);
  for (let attempt = 1; attempt <= 5; attempt++) hooks.tell(claimed(attempt));
  expect(told).toEqual([]);
  open.resolve();
  await hooks[Symbol.asyncDispose]();
  expect(told).toEqual([1, 2, 3, 4, 5]);
  // Stopped: nobody is there to be told.
  hooks.tell(claimed(6));
  expect(told).toHaveLength(5);
});

test('a hook is told only what it wants, of agents that it runs for', async () => {
  const told: string[] = [];
  const note = (name: string, rest: Partial<Hook> = {}) =>
    hook(name, (news) => void told.push(`${name} ${news.kind}`), rest);
  const hooks = createHooks({ log }, [note('all'), note('coder', { agents: ['coder'] }), note('off')]);
  const other = { ...agent, hooks: { ...agent.hooks, disable: ['off'] } };
  hooks.tell({ kind: 'job_claimed', agent: other, work, attempt: 1 });
  hooks.tell({ kind: 'job_completed', agent, work, state: 'done', code: undefined });
  await hooks[Symbol.asyncDispose]();
  expect(told).toEqual(['all job_claimed']);
  expect(hooks.wantsNews('job_claimed', agent)).toBe(true);
  expect(hooks.wantsNews('turn_trajectory', agent)).toBe(false);
});

test('a hook that throws loses nothing that comes after', async () => {
  const told: number[] = [];
  const hooks = createHooks({ log }, [
    hook('fails', (news) => {
      if (news.kind !== 'job_claimed') return;
      told.push(news.attempt);
      if (news.attempt === 1) throw new Error('no');
    }),
  ]);
  hooks.tell(claimed(1));
  hooks.tell(claimed(2));
  await hooks[Symbol.asyncDispose]();
  expect(told).toEqual([1, 2]);
});

attack('hooks', 'a hook that never takes its news', 'news are dropped, turns go on', async () => {
  const said: string[] = [];
  const noted = pino({ level: 'warn' }, { write: (line) => said.push(line) });
  const open = Promise.withResolvers<void>();
  let told = 0;
  const hooks = createHooks({ log: noted }, [
    hook(
      'hangs',
      async () => {
        told++;
        await open.promise;
      },
      { timeoutMs: 60_000 },
    ),
  ]);
  for (let attempt = 1; attempt <= 5_000; attempt++) hooks.tell(claimed(attempt));
  expect(said.filter((line) => line.includes('too slow'))).toHaveLength(1);
  open.resolve();
  await hooks[Symbol.asyncDispose]();
  // The one it was busy with, and what the queue holds.
  expect(told).toBe(1_001);
  expect(said.at(-1)).toContain('"dropped":3999');
});

test('a worker that stops does not wait for a hook without end, and says what it lost', async () => {
  const said: string[] = [];
  const noted = pino({ level: 'warn' }, { write: (line) => said.push(line) });
  const hooks = createHooks({ log: noted }, [hook('hangs', async () => await new Promise(() => undefined))]);
  hooks.tell(claimed(1));
  hooks.tell(claimed(2));
  await hooks[Symbol.asyncDispose]();
  expect(said.join('')).toContain('"lost":1');
});

const everything: readonly HookNews[] = [
  claimed(2),
  { kind: 'job_completed', agent, work, state: 'failed', code: 'model.auth' },
  {
    kind: 'turn_trajectory',
    agent,
    work,
    state: 'done',
    droppedSteps: 0,
    steps: [
      { kind: 'model', model: 'a:b', at, inputTokens: 1, outputTokens: 2, costMicros: 1_500_000n, calls: 1 },
      { kind: 'tool', tool: 'exec', input: '{}', at, outcome: 'refused', ms: undefined, outputChars: 3 },
    ],
  },
  {
    kind: 'model_usage',
    agent,
    work,
    model: 'a:b',
    inputTokens: 10,
    outputTokens: 5,
    cacheReadTokens: 4,
    cacheWriteTokens: 0,
    isEstimated: false,
    costMicros: 250n,
  },
  {
    kind: 'budget_warning',
    agent,
    work,
    period: 'daily',
    spentMicros: 800_000n,
    limitMicros: 1_000_000n,
    resetsAt: at,
  },
  {
    kind: 'approval_requested',
    agent,
    work,
    approvalId: 'ap',
    tool: 'exec',
    callKey: '1:c',
    summary: 'ls',
    risk: 'low',
  },
  {
    kind: 'approval_decided',
    agent,
    work,
    approvalId: 'ap',
    tool: 'exec',
    callKey: '1:c',
    verdict: 'denied',
    by: 'Ann',
    reason: undefined,
  },
];

test('a hook of a project is told all of it as plain values, with the place', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-hooks-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'hooks.ts');
  writeFileSync(
    file,
    `import { appendFileSync } from 'node:fs';
    import { defineHooks } from 'switchyard/hooks';
    const note = (event) => appendFileSync(new URL('./told', import.meta.url), JSON.stringify(event) + '\\n');
    export const hooks = defineHooks({ name: 'diary', ${hookNewsKinds.map((kind) => `${kind}: note`).join(', ')} });`,
  );
  await using own = await openUserHooks({ log }, { files: [file] });
  const hooks = createHooks({ log }, own.hooks);
  expect(everything.map((news) => news.kind).sort()).toEqual([...hookNewsKinds].sort());
  for (const news of everything) hooks.tell(news);
  const told = await eventually(async () => {
    const lines = (await readFile(path.join(folder, 'told'), 'utf8')).trim().split('\n');
    expect(lines).toHaveLength(everything.length);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  });
  await hooks[Symbol.asyncDispose]();
  const place = { agent: 'assistant', session: work.sessionId, turn: work.turnId, kind: 'message', room: '1001' };
  for (const event of told) expect(event).toMatchObject(place);
  expect(told).toMatchObject([
    { event: 'job_claimed', attempt: 2 },
    { event: 'job_completed', state: 'failed', code: 'model.auth' },
    {
      event: 'turn_trajectory',
      state: 'done',
      droppedSteps: 0,
      steps: [
        { kind: 'model', at: at.toISOString(), usd: 1.5, calls: 1 },
        { kind: 'tool', tool: 'exec', outcome: 'refused', outputChars: 3 },
      ],
    },
    { event: 'model_usage', inputTokens: 10, cacheReadTokens: 4, usd: 0.00025 },
    { event: 'budget_warning', spentUsd: 0.8, limitUsd: 1, resetsAt: at.toISOString() },
    { event: 'approval_requested', approval: 'ap', call: '1:c', summary: 'ls' },
    { event: 'approval_decided', verdict: 'denied', by: 'Ann' },
  ]);
});
