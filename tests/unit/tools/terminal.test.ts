import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { toolContext } from '#tests/support/tool-context.ts';
import type { ExecResult } from '#workers/sandbox/sandbox.ts';
import { terminalTool } from '#workers/tools/terminal.ts';

const tool = terminalTool();
type Arguments = z.infer<typeof tool.parameters>;

describe('what is typed', () => {
  const claim = (args: Partial<Arguments>) => tool.claim({ action: 'send', name: 'sh', ...args });

  test('is decided like a command, letters pressed one by one as well', () => {
    expect(claim({ text: 'rm -rf /\n' })).toMatchObject({
      action: 'tool.exec',
      resource: 'rm -rf /\n',
      risk: 'high',
      isOnce: true,
    });
    const keys = ['r', 'm', 'Space', '-', 'r', 'f', 'Space', '/', 'Enter'];
    expect(claim({ keys })).toMatchObject({ resource: 'rm -rf /\n', risk: 'high' });
    expect(claim({ keys: ['C-c', 'Up'] })).toMatchObject({ resource: 'terminal sh C-c Up', risk: 'medium' });
    expect(claim({ text: 'ls', keys: ['Enter'] }).summary).toBe('Type into the terminal sh:\nls\n[Enter]');
  });

  test('holds no character that its reader does not see, and no key that is a command of tmux', () => {
    const isTaken = (args: object): boolean =>
      tool.parameters.safeParse({ action: 'send', name: 'sh', ...args }).success;
    expect(isTaken({ text: 'a\tb\n' })).toBe(true);
    expect(isTaken({ text: 'ls\u0015rm x' })).toBe(false);
    expect(isTaken({ keys: ['Enter', 'C-M-x', 'F12', '-', 'y'] })).toBe(true);
    for (const key of [';', 'C-;', 'Enter;', 'kill-server', '', 'F13'])
      expect(isTaken({ keys: [key] }), key).toBe(false);
  });
});

test('opening is decided by its program; looking and closing are not commands', () => {
  expect(tool.claim({ action: 'open', name: 'a' })).toMatchObject({
    action: 'tool.exec',
    resource: 'bash',
    risk: 'medium',
  });
  for (const action of ['read', 'close', 'list'] as const) {
    expect(tool.claim({ action, name: 'a' })).toMatchObject({ action: 'tool.job', resource: action, risk: 'low' });
  }
});

test('how a program stands is told in words, whatever it drew', async () => {
  const shown = async (output: string): Promise<string> => {
    const ended: ExecResult = { exitCode: 0, ended: 'exit', output, droppedBytes: 0, durationMs: 1 };
    return (await tool.run({ action: 'send', name: 'a', text: 'x' }, toolContext({ exec: async () => ended }))).text;
  };
  expect(await shown('quiet 0  |0\nhi\n')).toBe('a runs.\nhi');
  expect(await shown('dead 1 3 |0\n')).toBe('Its program has ended with exit code 3.\n(nothing new)');
  expect(await shown('dead 1  15|0\nx\n')).toBe('Its program has ended by signal 15.\nx');
  expect(await shown('timeout 0  |1\n\u001b[2Jscreen\n')).toBe(
    'a runs; it still writes: read it again later; it uses the whole screen.\nscreen',
  );
});
