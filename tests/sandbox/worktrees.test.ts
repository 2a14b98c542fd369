import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openSandboxStage, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { worktreeStage } from '#tests/support/worktree-stage.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;
const { look, call, shell, repository } = worktreeStage(() => sandbox);

beforeAll(async () => {
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());
beforeEach(async () => {
  await shell('rm -rf /workspace/* /workspace/.worktrees /workspace/.git');
  await repository('app');
});

const start = async (task: string, more: object = {}) => await call('worktree', { action: 'start', task, ...more });
const merge = async (task: string, more: object = {}) =>
  await call('worktree_merge', { task, message: `Do ${task}`, ...more });
const tree = (task: string): string => `/workspace/.worktrees/app/${task}`;
const head = async (ref = 'main'): Promise<string> => await shell(`git rev-parse ${ref}`, 'app');

/** A task with one committed change, merged up to the step that moves the base. */
async function ready(task: string, change = "sed -i 's/two/TWO/' a.txt"): Promise<void> {
  await start(task);
  await shell(change, tree(task));
  expect(await merge(task)).toMatchObject({ action: 'git.worktree', isError: false });
}

describe('a task', () => {
  test('is worked on apart, merged as it was approved, and taken back', async () => {
    const before = await head();
    expect((await start('shout')).text).toContain(`work in ${tree('shout')} (branch task/shout, for main`);
    await shell("sed -i 's/two/TWO/' a.txt && echo new > 'b c.txt'", tree('shout'));
    expect((await call('worktree', { action: 'list' })).text).toMatch(
      /^shout \(task\/shout → main\): 0 ahead, 0 behind; .*2 not committed/,
    );
    expect(await merge('shout')).toMatchObject({ action: 'git.worktree', isError: false });
    expect(await head()).toBe(before);
    const { claim, carryOut } = await look('worktree_merge', { task: 'shout', message: 'Shout two' });
    expect(claim).toMatchObject({ action: 'git.merge', resource: 'main', isOnce: true, risk: 'medium' });
    expect(claim.summary).toMatch(/^Merge task\/shout \([0-9a-f]{10}\) into main \([0-9a-f]{10}\)\nShout two\n/);
    expect(claim.summary).toContain('2 files changed');
    expect((await carryOut()).text).toMatch(/^Merged: main is at/);
    expect(await shell('cat a.txt "b c.txt" && git status --porcelain', 'app')).toBe('one\nTWO\nthree\nnew');
    expect(await shell('git log -1 --format=%s%n%an', 'app')).toBe('Shout two\ncoder');
    expect((await merge('shout')).text).toBe('Everything of shout is in main already.');

    expect(await call('worktree', { action: 'undo', task: 'shout' })).toMatchObject({ action: 'git.merge' });
    expect(await head()).toBe(before);
    expect(await merge('shout')).toMatchObject({ action: 'git.merge' });
    await shell('echo later > later && git add later && git commit -qm later', 'app');
    const undo = await look('worktree', { action: 'undo', task: 'shout' });
    expect(undo.claim.summary).toContain('a new commit on main');
    await undo.carryOut();
    expect(await shell('cat a.txt; ls; git status --porcelain', 'app')).toBe('one\ntwo\nthree\na.txt\nlater');
  });

  test('that is dropped is kept aside, what was not committed as well, and can be taken up again', async () => {
    await start('idea');
    await shell('echo x > x && git add x && git commit -qm x && echo open > open', tree('idea'));
    const dropped = await call('worktree', { action: 'drop', task: 'idea' });
    const [, from = ''] = /from "(dropped\/idea-\w+)"/.exec(dropped.text) ?? [];
    expect(await shell('git branch --list "task/*"; git worktree list | wc -l; ls -A ../.worktrees/app', 'app')).toBe(
      '1',
    );
    await start('idea-again', { from });
    expect(await shell('ls', tree('idea-again'))).toBe('a.txt\nopen\nx');
    expect((await call('worktree', { action: 'list' })).text).toContain(`${from}: kept at`);
  });

  test('whose conflicts are settled is merged; before that its base is untouched', async () => {
    await start('german');
    await shell("sed -i 's/two/zwei/' a.txt && git rm -q --cached a.txt && git add a.txt", tree('german'));
    await shell("sed -i 's/two/deux/' a.txt && git commit -qam french", 'app');
    const before = await head();
    const conflict = await merge('german');
    expect(conflict).toMatchObject({ action: 'git.worktree', isError: true });
    expect(conflict.text).toMatch(/2\t<<<<<<< HEAD\n3\tzwei\n4\t\|{7}.*\n5\ttwo\n6\t=======\n7\tdeux\n8\t>>>>>>> /);
    expect(await merge('german')).toMatchObject({ isError: true });
    expect(await head()).toBe(before);
    await shell("printf 'one\\nzwei, deux\\nthree\\n' > a.txt", tree('german'));
    expect(await merge('german')).toMatchObject({ action: 'git.worktree', isError: false });
    expect(await merge('german')).toMatchObject({ action: 'git.merge', isError: false });
    expect(await shell('cat a.txt', 'app')).toBe('one\nzwei, deux\nthree');
  });

  test('in which nothing can show that a conflict was settled waits until somebody says so', async () => {
    await shell("printf 'a\\0b' > data && echo x > gone && git add . && git commit -qm data", 'app');
    await start('both');
    await shell("printf 'a\\0c' > data && git rm -q gone", tree('both'));
    await shell("printf 'a\\0d' > data && echo y >> gone && git commit -qam theirs", 'app');
    expect((await merge('both')).text).toMatch(/data: no text[\s\S]*gone: deleted in the task/);
    expect((await merge('both', { accept: ['data'] })).text).toMatch(/^1 file is in conflict/);
    expect(await merge('both', { accept: ['data', 'gone'] })).toMatchObject({ isError: false });
    expect(await shell('od -An -tx1 data; ls', tree('both'))).toBe('61 00 63\na.txt\ndata\ngone');
  });

  test('is searched once only: worktrees are left out unless a search is pointed into them', async () => {
    await start('look');
    expect(
      (await sandbox.searchFiles('two', { matchesMax: 10, signal: new AbortController().signal })).matches,
    ).toEqual([{ path: 'app/a.txt', line: 2, text: 'two' }]);
    const inside = { path: '.worktrees/app/look', matchesMax: 10, signal: new AbortController().signal };
    expect((await sandbox.searchFiles('two', inside)).matches).toHaveLength(1);
  });

  test('of one of several repositories is found by its name, or told apart by the folder', async () => {
    await repository('libs/core');
    await expect(start('same')).rejects.toThrow(/There are several repositories: app, libs\/core/);
    expect(await start('libs/core:same')).toMatchObject({ isError: false });
    await shell('echo n > n', `/workspace/.worktrees/${await shell('ls /workspace/.worktrees')}/same`);
    expect(await merge('same')).toMatchObject({ isError: false });
    expect((await call('worktree', { action: 'list' })).text).toMatch(/\/workspace\/libs\/core:\nsame/);
  });

  test('of a repository that is the workspace itself does not show in its status', async () => {
    await shell('rm -rf app .worktrees');
    await repository('.');
    await start('inside');
    expect(await shell('git status --porcelain')).toBe('');
  });
});

describe('what was approved is what is merged', () => {
  test('commits that came after the look are not merged with it, and make another action', async () => {
    await ready('pinned');
    const looked = await look('worktree_merge', { task: 'pinned', message: 'm' });
    await shell('echo sneaked > sneaked && git add sneaked && git commit -qm sneaked', tree('pinned'));
    const again = await look('worktree_merge', { task: 'pinned', message: 'm' });
    expect(again.claim.summary).not.toBe(looked.claim.summary);
    await looked.carryOut();
    expect(await shell('ls', 'app')).toBe('a.txt');
  });

  test('a base that moved after the look is left alone', async () => {
    await ready('late');
    const looked = await look('worktree_merge', { task: 'late', message: 'm' });
    await shell('echo more > more && git add more && git commit -qm more', 'app');
    const moved = await head();
    await expect(looked.carryOut()).rejects.toThrow(/main was moved meanwhile/);
    expect(await head()).toBe(moved);
    expect((await look('worktree_merge', { task: 'late', message: 'm' })).claim.action).toBe('git.worktree');
  });

  test('a base with changes of its own, or checked out elsewhere, is not touched', async () => {
    await ready('blocked');
    await shell('echo dirt >> a.txt', 'app');
    const before = await head();
    await expect(merge('blocked')).rejects.toThrow(/has changes on main that are not committed: a\.txt/);
    await shell('git checkout -q a.txt && git switch -q -c other && git worktree add -q ../elsewhere main', 'app');
    await expect(merge('blocked')).rejects.toThrow(/main is checked out in \/workspace\/elsewhere/);
    expect(await head()).toBe(before);
    await shell('git worktree remove ../elsewhere', 'app');
    expect(await merge('blocked')).toMatchObject({ action: 'git.merge', isError: false });
    expect(await shell('git show main:a.txt', 'app')).toContain('TWO');
    // The branch that is checked out keeps its files.
    expect(await shell('cat a.txt; git status --porcelain', 'app')).toBe('one\ntwo\nthree');
  });
});

describe('after a crash', () => {
  test('a base whose files are halfway to the merge is finished; one that somebody else changed is not', async () => {
    await ready('crash', "sed -i 's/two/TWO/' a.txt && echo b > b.txt && echo c > c.txt");
    const halfway = async (): Promise<void> => {
      const merged = await shell(
        'git commit-tree task/crash^{tree} -p main -p task/crash -m halfway && echo b > b.txt && rm a.txt',
        'app',
      );
      await shell(
        `git update-ref refs/switchyard/moving/crash ${merged} && touch -d '1 hour ago' .git/index.lock`,
        'app',
      );
    };
    await halfway();
    await shell('echo other > a.txt', 'app');
    await expect(merge('crash')).rejects.toThrow(/not committed: a\.txt/);
    await shell('rm a.txt', 'app');
    expect((await merge('crash')).text).toMatch(/^Merged/);
    expect(await shell('cat a.txt b.txt c.txt; git status --porcelain; git log -1 --format=%s', 'app')).toBe(
      'one\nTWO\nthree\nb\nc\nhalfway',
    );
    expect(await shell('git for-each-ref --format="%(refname)" refs/switchyard/moving', 'app')).toBe('');
  });

  test('a merge that moved its base and was not told of counts as done, and can be undone', async () => {
    await ready('told');
    const before = await head();
    const merged = await shell('git commit-tree task/told^{tree} -p main -p task/told -m m', 'app');
    await shell(`git update-ref refs/switchyard/moving/told ${merged} && git merge -q --ff-only ${merged}`, 'app');
    expect((await merge('told')).text).toBe('Everything of told is in main already.');
    await call('worktree', { action: 'undo', task: 'told' });
    expect(await head()).toBe(before);
  });

  test('a task that lost its folder or its way back is taken up again', async () => {
    await start('lost');
    await shell('echo kept > kept && git add kept && git commit -qm kept', tree('lost'));
    await shell(`rm -rf ${tree('lost')}`);
    await expect(merge('lost')).rejects.toThrow(/has no working directory any more/);
    expect((await call('worktree', { action: 'list' })).text).toContain('start takes it up again');
    expect((await start('lost')).text).toMatch(/^Taken up again/);
    expect(await shell('cat kept', tree('lost'))).toBe('kept');
    await shell('mv app moved && mv moved app && rm ../workspace/.worktrees/app/lost/.git', '/workspace');
    expect((await call('worktree', { action: 'list' })).text).toContain('1 ahead');
    expect(await shell('git status --porcelain', tree('lost'))).toBe('');
  });

  test('a lock nobody holds is removed; a new one, and one that is open, are left', async () => {
    await start('locks');
    await shell("touch -d '1 hour ago' .git/index.lock && touch .git/HEAD.lock", 'app');
    await shell(
      "touch -d '1 hour ago' .git/config.lock; (exec 9<.git/config.lock; sleep 600) >/dev/null 2>&1 &",
      'app',
    );
    expect((await call('worktree', { action: 'list' })).text).toContain('Removed a lock nobody held: ./index.lock.');
    expect(await shell('ls .git | grep lock', 'app')).toBe('HEAD.lock\nconfig.lock');
    await shell('pkill -x sleep');
  });
});

test('what is old goes by itself and is told: merged tasks, then what is left of them, and dropped work', async () => {
  await ready('old');
  await merge('old');
  await shell(
    'm=$(git rev-parse refs/switchyard/merged/old); ' +
      'old=$(GIT_COMMITTER_DATE="2020-01-01T00:00:00Z" git commit-tree "$m^{tree}" -p "$m^1" -p "$m^2" -m old); ' +
      'git reset -q --hard "$old"; git update-ref refs/switchyard/merged/old "$old"; ' +
      'git update-ref refs/switchyard/dropped/x-20200101T000000Z "$old"',
    'app',
  );
  const listed = (await call('worktree', { action: 'list' })).text;
  expect(listed).toContain('old: merged more than 30 days ago, forgotten');
  expect(listed).toContain('dropped/x-20200101T000000Z: dropped more than 30 days ago, forgotten');
  expect(await shell('git for-each-ref --format="%(refname)"; ls -A ../.worktrees/app', 'app')).toBe('refs/heads/main');
});
