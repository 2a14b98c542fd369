import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import type { HookCall, HookedResult } from '#workers/hooks/turn-hooks.ts';
import { findHookFiles, openUserHooks, type UserHooks } from '#workers/hooks/user-hooks.ts';
import { hookCall } from '../../support/hook-call.ts';

const log = pino({ level: 'silent' });
const signal = new AbortController().signal;
const examples = path.resolve(import.meta.dirname, '../../../examples/hooks');

function write(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-hooks-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return path.join(folder, 'hooks');
}

async function open(folder: string, timeoutMs = 30_000): Promise<UserHooks> {
  const own = await openUserHooks({ log }, { files: await findHookFiles(folder), timeoutMs });
  onTestFinished(async () => await own[Symbol.asyncDispose]());
  return own;
}

const load = async (text: string, timeoutMs?: number) => await open(write({ 'hooks.ts': text }), timeoutMs);

test('hooks.ts and every file of hooks/ are loaded, in the types of TypeScript, without any package', async () => {
  const folder = write({
    'hooks.ts':
      "import { defineHooks, type HookedCall } from 'switchyard/hooks';\nexport const hooks = defineHooks({ name: 'one', before_tool: (_call: HookedCall) => undefined });",
    'hooks/b.mjs':
      "import { shared } from './lib/shared.mjs';\nexport default { name: shared, priority: -5, agents: ['coder'], session_idle: () => undefined };",
    'hooks/a.js':
      "export const hooks = [{ name: 'three', inject_context: () => [] }, { name: 'four', after_tool: () => undefined }];",
    'hooks/lib/shared.mjs': "export const shared = 'two';",
    'hooks/.hidden.ts': 'throw new Error();',
    'hooks/x.test.ts': 'throw new Error();',
    'hooks/notes.md': 'x',
  });
  const { hooks } = await open(folder);
  expect(hooks.map((hook) => [hook.name, hook.priority, hook.agents, path.basename(hook.source)])).toEqual([
    ['one', 200, undefined, 'hooks.ts'],
    ['three', 200, undefined, 'a.js'],
    ['four', 200, undefined, 'a.js'],
    ['two', -5, ['coder'], 'b.mjs'],
  ]);
  expect(await findHookFiles(path.join(folder, 'nowhere'))).toEqual([]);
});

test.each([
  [
    'export const hooks = [\n  { name: "x" },\n];',
    /hooks\.ts:1:1 hook 1 "x" takes part in nothing; it needs one of before_tool/,
  ],
  ['export const hooks = { before_tool: () => undefined };', /hook 1 needs a name/],
  ['export const hooks = { name: "Bad Name", before_tool: () => undefined };', /hook 1 "Bad Name" needs a name of a-z/],
  ['export const hooks = [1];', /hook 1 is no object/],
  ['export const hooks = { name: "x", before_tool: true };', /has a before_tool that is no function/],
  ['export const hooks = { name: "x", priority: "high", before_tool() {} };', /has a priority that is no number/],
  ['export const hooks = { name: "x", agents: "coder", before_tool() {} };', /has "agents" that are no list/],
  ['const h = { name: "x", before_tool() {} };\nexport const hooks = [h, h];', /has the name "x" of another hook/],
  ['export const other = 1;', /hooks\.ts:1:1 exports neither "hooks" nor a default/],
  ['\n\nconst x = ;', /hooks\.ts:3:1 /],
  ['\nthrow new Error("no luck");', /hooks\.ts:2:7 no luck/],
  ['import { x } from "./gone.ts";\nexport const hooks = x;', /Cannot find module/],
  ['enum A { b }\nexport const hooks = [];', /hooks\.ts:1:\d+ .*enum/],
])('a file with a mistake is refused with its place: %j', async (text, problem) => {
  await expect(load(text)).rejects.toMatchObject({ code: 'hook.invalid', message: expect.stringMatching(problem) });
});

test('a hook reads a copy, answers with continue, block or modify, and what it answers is checked', async () => {
  const { hooks } = await load(`
    import { block, modify, proceed } from 'switchyard/hooks';
    export const hooks = { name: 'x', before_tool: (call) => {
      if (call.args.mode === 'block') return block('no');
      if (call.args.mode === 'modify') { call.args.mode = 'mine'; return modify({ place: [call.agent, call.channel, call.person, call.call, call.kind] }); }
      if (call.args.mode === 'junk') return { action: 'allow' };
      if (call.args.mode === 'function') return modify({ a: () => 1 });
      return call.args.mode === 'proceed' ? proceed() : undefined;
    } };`);
  const all = createHooks({ log }, hooks);
  const given = { mode: 'modify' };
  expect(await all.beforeTool(hookCall({ args: given }), signal)).toEqual({
    action: 'modify',
    args: { place: ['assistant', 'telegram', 'p1', '1:call_1', 'message'] },
  });
  expect(given).toEqual({ mode: 'modify' });
  const verdict = async (mode: string) => await all.beforeTool(hookCall({ args: { mode } }), signal);
  expect(await verdict('block')).toEqual({ action: 'block', reason: 'no' });
  expect(await verdict('proceed')).toEqual({ action: 'continue' });
  expect(await verdict('nothing')).toEqual({ action: 'continue' });
  expect(await verdict('junk')).toMatchObject({ action: 'block', reason: expect.stringMatching(/failed/) });
  expect(await verdict('function')).toMatchObject({ action: 'block', reason: expect.stringMatching(/failed/) });
});

test('an output can be changed or withheld, pictures and all', async () => {
  const { hooks } = await load(`
    import { block, modify } from 'switchyard/hooks';
    export const hooks = { name: 'x', after_tool: (call, output) => call.tool === 'hide' ? block('private') : modify({ text: output.text + '!' }) };`);
  const all = createHooks({ log }, hooks);
  const result = { text: 'out', isError: false, images: [{ blobId: 'b', mime: 'image/png' }] };
  const call = (tool: string): HookedResult => ({
    ...hookCall({ tool }),
    sandbox: () => Promise.reject(new Error('none')),
  });
  expect(await all.afterTool(call('show'), result, signal)).toEqual({ ...result, text: 'out!' });
  expect(await all.afterTool(call('hide'), result, signal)).toEqual({ text: 'Withheld: private', isError: true });
});

attack(
  'hooks',
  'a hook that computes or waits for ever',
  'cut at its time, its call blocked',
  async () => {
    const { hooks } = await load(
      `export const hooks = { name: 'x', before_tool: (call) => {
      if (call.args.mode === 'wait') return new Promise((resolve, reject) => call.signal.addEventListener('abort', () => reject(new Error('cut'))));
      if (call.args.mode === 'spin') for (;;);
      if (call.args.mode === 'exit') process.exit(0);
      if (call.args.mode === 'reject') Promise.reject(new Error('nobody waits'));
      if (call.args.mode === 'memory') { const all = []; for (;;) all.push(new Array(1e6).fill(call)); }
      return undefined;
    } };`,
      300,
    );
    const all = createHooks({ log }, hooks);
    const verdict = async (mode: string) => (await all.beforeTool(hookCall({ args: { mode } }), signal)).action;
    for (const mode of ['wait', 'spin', 'exit', 'memory']) {
      expect(await verdict(mode), mode).toBe('block');
      await expect.poll(async () => await verdict('fine')).toBe('continue');
    }
    await verdict('reject');
    await expect.poll(async () => await verdict('fine')).toBe('continue');
  },
  60_000,
);

test('an answer that came while the worker itself was busy is not late', async () => {
  const { hooks } = await load("export const hooks = { name: 'x', before_tool: () => undefined };", 100);
  const all = createHooks({ log }, hooks);
  await expect.poll(async () => (await all.beforeTool(hookCall(), signal)).action).toBe('continue');
  const verdict = all.beforeTool(hookCall(), signal);
  // The question is on its way; then nothing else runs here for longer than an answer may take.
  await new Promise((resolve) => setImmediate(resolve));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_000);
  expect(await verdict).toEqual({ action: 'continue' });
});

attack('hooks', 'a hook’s file changed under a running worker', 'not taken for the one it began with', async () => {
  const folder = write({
    'hooks.ts': "export const hooks = { name: 'x', before_tool: (call) => call.args.die && process.exit() };",
  });
  const { hooks } = await open(folder);
  const all = createHooks({ log }, hooks);
  writeFileSync(`${folder}.ts`, "export const hooks = { name: 'y', before_tool: () => undefined };");
  await all.beforeTool(hookCall({ args: { die: true } }), signal);
  expect(await all.beforeTool(hookCall(), signal)).toMatchObject({ action: 'block' });
});

test('what hooks print goes to the log', async () => {
  const lines: unknown[] = [];
  const told = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const folder = write({ 'hooks.ts': "console.log('loaded');\nexport const hooks = { name: 'x', before_tool() {} };" });
  await using _own = await openUserHooks({ log: told }, { files: await findHookFiles(folder) });
  await expect.poll(() => lines).toContainEqual(expect.objectContaining({ msg: 'hook printed', line: 'loaded' }));
});

test('the rate limiter of the examples refuses what comes too fast, and says the same of a call that comes by again', async () => {
  const own = await openUserHooks({ log }, { files: [path.join(examples, 'rate-limiter.ts')] });
  onTestFinished(async () => await own[Symbol.asyncDispose]());
  const all = createHooks({ log }, own.hooks);
  const verdict = async (call: Partial<HookCall>) => (await all.beforeTool(hookCall(call), signal)).action;
  for (let index = 0; index < 20; index++) expect(await verdict({ callKey: `1:${index}` })).toBe('continue');
  expect(await verdict({ callKey: '1:20' })).toBe('block');
  expect(await verdict({ callKey: '1:0' })).toBe('continue');
  expect(await verdict({ callKey: '1:20' })).toBe('block');
  expect(await verdict({ callKey: '1:21', tool: 'read_file' })).toBe('continue');
});

test('the audit log of the examples writes what was done, and no arguments', async () => {
  const folder = write({});
  const file = path.join(path.dirname(folder), 'audit.jsonl');
  const text = readFileSync(path.join(examples, 'audit-log.ts'), 'utf8').replace(
    "process.env['AUDIT_LOG']",
    JSON.stringify(file),
  );
  const { hooks } = await open(write({ 'hooks.ts': text }));
  const all = createHooks({ log }, hooks);
  const call: HookedResult = {
    ...hookCall({ args: { command: 'echo private' } }),
    sandbox: () => Promise.reject(new Error('none')),
  };
  await all.afterTool(call, { text: 'private', isError: false }, signal);
  all.turnEvent({ ...hookCall(), kind: 'failed', code: 'model.auth' });
  await expect.poll(() => readFileSync(file, 'utf8').trim().split('\n').length).toBe(2);
  const lines = readFileSync(file, 'utf8');
  expect(lines).not.toContain('private');
  expect(lines).toMatch(/"event":"tool","tool":"exec"[\s\S]*"event":"session_error"[\s\S]*"code":"model\.auth"/);
});
