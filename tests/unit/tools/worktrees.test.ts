import { describe, expect, test } from 'vitest';
import { toolContext } from '#tests/support/tool-context.ts';
import type { ExecRequest, Sandbox } from '#workers/sandbox/sandbox.ts';
import { worktreeTool } from '#workers/tools/worktree.ts';
import { worktreeMergeTool } from '#workers/tools/worktree-merge.ts';
import { hunksOf, markersOf } from '#workers/worktrees/conflicts.ts';
import { openGit } from '#workers/worktrees/git.ts';
import { gitEnvironment } from '#workers/worktrees/git-environment.ts';
import { baseName, taskOf, taskWord } from '#workers/worktrees/task.ts';

describe('the environment of git', () => {
  const settingsOf = (keys: readonly string[]): Map<string, string> => {
    const all = new Map(
      gitEnvironment(keys, 'coder').map((word) => [
        word.slice(0, word.indexOf('=')),
        word.slice(word.indexOf('=') + 1),
      ]),
    );
    const count = Number(all.get('GIT_CONFIG_COUNT'));
    return new Map(
      Array.from({ length: count }, (_, at) => [
        all.get(`GIT_CONFIG_KEY_${at}`) ?? '',
        all.get(`GIT_CONFIG_VALUE_${at}`) ?? '',
      ]),
    );
  };

  test('takes the place of every program a configuration names, whatever the name holds', () => {
    const settings = settingsOf([
      'filter.a=b.c.smudge',
      'merge.x y\n.driver',
      'branch.task/x.mergeoptions',
      'user.name',
    ]);
    expect(settings.get('filter.a=b.c.process')).toBe('');
    expect(settings.get('filter.a=b.c.required')).toBe('false');
    expect(settings.get('merge.x y\n.driver')).toMatch(/^git merge-file /);
    expect(settings.get('branch.task/x.mergeOptions')).toBe('');
    expect(settings.get('core.hooksPath')).toBe('/dev/null');
    expect([...settings.keys()]).not.toContain('user.name');
  });

  test('is refused for what cannot be seen whole', () => {
    for (const keys of [['include.path'], ['includeif.gitdir:x.path'], ['core.worktree']]) {
      expect(() => gitEnvironment(keys, 'coder')).toThrow(/is not used/);
    }
    const many = Array.from({ length: 200 }, (_, at) => `filter.${at}.clean`);
    expect(() => gitEnvironment(many, 'coder')).toThrow(/too many programs/);
  });
});

describe('git in a sandbox', () => {
  const gitWith = async (answer: Partial<Awaited<ReturnType<Sandbox['exec']>>>, asked: ExecRequest[] = []) => {
    const ended = { exitCode: 0, ended: 'exit', output: '', droppedBytes: 0, durationMs: 1 } as const;
    const exec: Sandbox['exec'] = async (request) => {
      asked.push(request);
      return asked.length === 1 ? ended : { ...ended, ...answer };
    };
    const context = toolContext({ exec });
    return await openGit(context, await context.sandbox(), '/workspace/app');
  };

  test('a word is never read by the shell', async () => {
    const asked: ExecRequest[] = [];
    const git = await gitWith({}, asked);
    await git.run(['commit-tree', "it's $(id); `id`"]);
    expect(asked[1]?.command).toContain("'commit-tree' 'it'\\''s $(id); `id`'");
    expect(asked[1]?.workingDirectory).toBe('/workspace/app');
  });

  test('its ends are told as what they are, without what moves a cursor', async () => {
    await expect((await gitWith({ ended: 'timeout', exitCode: undefined })).run(['gc'])).rejects.toMatchObject({
      code: 'sandbox.timeout',
    });
    await expect((await gitWith({ ended: 'oom', exitCode: 137 })).run(['gc'])).rejects.toMatchObject({
      code: 'sandbox.oom',
    });
    const failed = (await gitWith({ exitCode: 128, output: 'fatal: \u001b[2Jno' })).run(['x']);
    await expect(failed).rejects.toThrow(/^git x failed: fatal: no$/);
    await expect((await gitWith({ droppedBytes: 1 })).run(['log'])).rejects.toThrow(/said too much/);
  });
});

describe('conflicts', () => {
  const side = '<<<<<<< HEAD\nours\n||||||| base\nold\n=======\ntheirs\n>>>>>>> main\n';

  test('are shown with their line numbers and a little around', () => {
    const text = `${'x\n'.repeat(20)}${side}${'y\n'.repeat(20)}${side}`;
    const lines = hunksOf(text).split('\n');
    expect(lines[0]).toBe('18\tx');
    expect(lines[3]).toBe('21\t<<<<<<< HEAD');
    expect(lines).toContain('…');
    expect(lines.length).toBeLessThan(30);
  });

  test('count as open while one marker stands, and a line of equal signs is none', () => {
    expect(markersOf(side)).toEqual([0, 2, 6]);
    expect(markersOf('a\r\n>>>>>>> main\r\n')).toEqual([1]);
    expect(markersOf('Title\n=======\n<<<<<<<< eight\n << two\n')).toEqual([]);
    expect(hunksOf('a\n>>>>>>> main\n')).toBe('');
  });
});

describe('names', () => {
  test('of tasks are small words, after a folder if there is one', () => {
    expect(taskOf('libs/a:b:fix-1')).toEqual({ folder: 'libs/a:b', name: 'fix-1' });
    for (const word of ['fix', 'fix-login-2', 'a:b']) expect(taskWord.safeParse(word).success, word).toBe(true);
    for (const word of ['', '-x', 'x-', 'a--b', 'A', 'a/b', '..', 'x.lock', ':x', 'x'.repeat(51)]) {
      expect(taskWord.safeParse(word).success, word).toBe(false);
    }
  });

  test('of bases are branches that are no options and no paths elsewhere', () => {
    expect(baseName('refs/heads/release/1.2')).toBe('release/1.2');
    for (const ref of [
      'refs/heads/--x',
      'refs/heads/a..b',
      'refs/heads/.x',
      'refs/tags/x',
      'refs/heads/a b',
      undefined,
    ]) {
      expect(baseName(ref), ref).toBeUndefined();
    }
  });
});

test('what moves a base is decided apart from what leaves it as it is, and each time anew', () => {
  const commits = { base: 'main', baseCommit: 'a'.repeat(40), headCommit: 'b'.repeat(40), shown: '1 file changed' };
  const merge = worktreeMergeTool();
  const args = { task: 'app:x', message: 'Do it' };
  expect(merge.claim(args)).toMatchObject({ action: 'git.worktree', resource: 'x', risk: 'low' });
  expect(merge.claim({ ...args, plan: { step: 'update', base: 'main' } })).toMatchObject({ action: 'git.worktree' });
  expect(merge.claim({ ...args, plan: { step: 'merge', ...commits } })).toMatchObject({
    action: 'git.merge',
    resource: 'main',
    isOnce: true,
    summary: `Merge task/x (${'b'.repeat(10)}) into main (${'a'.repeat(10)})\nDo it\n\n1 file changed`,
  });
  const undo = { step: 'reset', base: 'main', from: 'a'.repeat(40), to: 'b'.repeat(40), shown: '' } as const;
  const tool = worktreeTool();
  expect(tool.claim({ action: 'undo', task: 'x', plan: undo })).toMatchObject({ action: 'git.merge', isOnce: true });
  expect(tool.claim({ action: 'drop', task: 'x' })).toMatchObject({ action: 'git.worktree', risk: 'medium' });
  expect(tool.claim({ action: 'list' })).toMatchObject({ action: 'git.worktree', resource: 'list' });
});
