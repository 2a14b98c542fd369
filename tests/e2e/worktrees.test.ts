import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';

const agents = [
  {
    name: 'assistant',
    frontMatter: `tools: [exec, terminal, edit_file, worktree, worktree_merge]
autonomy: semi-autonomous
ask_above: { risk: high }
grants:
  - allow: [file.read, file.write, tool.exec, tool.job, git.worktree]
  - ask: git.merge`,
  },
];

let product: Product;
beforeAll(async () => {
  product = await Product.up({ agents });
});
afterAll(async () => await product[Symbol.asyncDispose]());

const call = (name: string, args: unknown) => ({ toolCalls: [{ name, arguments: args }] });
const exec = (command: string) => call('exec', { command });
const says = (text: string): void => void product.telegram.people.says(owner, owner, text);
const body = (index: number): string => JSON.stringify(product.model.requests[index]?.body);
const merge = (task: string) => call('worktree_merge', { task, message: `Do ${task}` });
const show = exec('cd app && cat a.txt && git log --format=%s -1 && git status --porcelain');

const make =
  "git init -q -b main app && cd app && git config user.name p && git config user.email p@example.org && printf 'one\\ntwo\\n' > a.txt && git add . && git commit -qm first";

test('a task is begun, edited, merged after the press of a button, and taken back after another', async () => {
  product.model.use([
    exec(make),
    call('worktree', { action: 'start', task: 'shout' }),
    call('edit_file', { path: '.worktrees/app/shout/a.txt', old_string: 'two', new_string: 'TWO' }),
    merge('shout'),
    merge('shout'),
    show,
    call('worktree', { action: 'undo', task: 'shout' }),
    show,
    { text: 'There and back.' },
  ]);
  says('Shout it');
  const card = await product.hears(owner, /may I do this\?[\s\S]*worktree_merge: Merge task\/shout/, 60_000);
  expect(card).toMatch(/into main \([0-9a-f]{10}\)/);
  expect(card).toMatch(/[0-9a-f]{7} Do shout/);
  expect(card).toContain('1 file changed');
  expect(product.button(owner, 'Always in this session')).toBeUndefined();
  expect(body(4)).toContain('main is as it was');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /worktree: Undo the merge of task\/shout/, 60_000);
  expect(body(5)).toContain('Merged: main is at');
  expect(body(6)).toContain('one\\nTWO\\nDo shout');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /There and back\./, 60_000);
  expect(body(8)).toContain('one\\ntwo\\nfirst');
}, 200_000);

test('a conflict is settled by the agent and merged; a merge that is denied changes nothing', async () => {
  product.model.use([
    call('worktree', { action: 'start', task: 'german' }),
    exec(
      "sed -i 's/two/zwei/' .worktrees/app/german/a.txt && cd app && sed -i 's/two/deux/' a.txt && git commit -qam french",
    ),
    merge('german'),
    exec("printf 'one\\nzwei, deux\\n' > .worktrees/app/german/a.txt"),
    merge('german'),
    merge('german'),
    show,
    merge('german'),
    show,
    { text: 'Both of them.' },
  ]);
  says('Say it in German');
  await product.hears(owner, /worktree_merge: Merge task\/german/, 60_000);
  expect(body(3)).toMatch(/<<<<<<< HEAD.*zwei.*deux.*>>>>>>> /);
  await product.presses(owner, owner, 'Deny');
  await eventually(() => expect(product.model.requests.length).toBeGreaterThan(7), { timeout: 60_000 });
  expect(body(6)).toContain('Denied by');
  expect(body(7)).toContain('one\\ndeux\\nfrench');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /Both of them\./, 60_000);
  expect(body(9)).toContain('one\\nzwei, deux\\nDo german');
}, 200_000);

test('what changes after the question is asked about anew', async () => {
  product.model.use([
    call('worktree', { action: 'start', task: 'sneaky' }),
    exec(`cd .worktrees/app/sneaky && echo a > shown && git add . && git commit -qm shown`),
    call('terminal', {
      action: 'open',
      name: 'late',
      command: 'cd .worktrees/app/sneaky; read line; echo b > hidden; git add .; git commit -qm hidden',
    }),
    merge('sneaky'),
    { text: 'Merged what was seen.' },
  ]);
  says('Sneak');
  const first = await product.hears(owner, /worktree_merge: Merge task\/sneaky/, 60_000);
  expect(first).not.toContain('hidden');
  const [row] = await product.database.query<{ session_id: string }>(
    'select session_id from approval order by created_at desc limit 1',
  );
  const typed = await product.cli([
    'sandbox',
    'shell',
    row?.session_id ?? '',
    '-c',
    'tmux -N -S /tmp/.switchyard-terminals/socket send-keys -t =late: Enter; cd .worktrees/app/sneaky; until git log --format=%s | grep -q hidden; do sleep 0.1; done',
  ]);
  expect(typed).toMatchObject({ code: 0 });
  const watch = ['sandbox', 'shell', row?.session_id ?? '', '--terminal', 'late'];
  expect((await product.cli(watch, '\u001d', { isTerminal: true })).stdout).toContain('detached (from session late)');
  await product.presses(owner, owner, 'Approve');
  const second = await product.hears(owner, /worktree_merge: Merge task\/sneaky[\s\S]*hidden/, 60_000);
  expect(second).toContain('2 files changed');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /Merged what was seen\./, 60_000);
  expect(body(4)).toContain('Merged: main is at');
}, 200_000);
