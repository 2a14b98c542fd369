import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

let product: Product;

beforeAll(async () => {
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [exec]
autonomy: autonomous
grants: [{ allow: tool.exec }]
sandbox: { disk_mb: 64 }`,
      },
    ],
    script: scriptedBrain,
  });
});
afterAll(async () => await product[Symbol.asyncDispose]());

interface Listed {
  readonly sandboxes: readonly {
    readonly sessionId: string;
    readonly state: string;
    readonly diskMb: number;
    readonly memoryMb: number;
  }[];
}

const list = async (): Promise<Listed['sandboxes']> => {
  const { stdout } = await product.cli(['sandbox', 'list', '--json']);
  const { sandboxes }: Listed = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}');
  return sandboxes;
};

test('an operator finds a session’s sandbox, looks into it, reads what happened and takes it away', async () => {
  product.telegram.people.says(owner, owner, 'exec: echo $((40+2)) > answer; cat answer');
  await product.hears(owner, /Result: [\s\S]*\n42/);

  const [row] = (await list()).filter(({ sessionId }) => sessionId !== '');
  expect(row).toMatchObject({ diskMb: 64, memoryMb: 512 });
  const sessionId = row?.sessionId ?? '';
  const short = sessionId.slice(0, 13);

  const shown = await product.cli(['sandbox', 'shell', short, '-c', 'id -u; cat /workspace/answer; exit 4']);
  expect(shown).toMatchObject({ code: 4, stdout: '10001\n42\n' });
  expect(await product.cli(['sandbox', 'shell', short])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/needs a terminal.*-c/s),
  });

  const typed = 'echo typed-$((40+2)); stty size; exit 5\n';
  const shell = await product.cli(['sandbox', 'shell', short], typed, { isTerminal: true });
  expect(shell).toMatchObject({ code: 5, stdout: expect.stringContaining('typed-42') });

  const logs = await product.cli(['sandbox', 'logs', short]);
  expect(logs.stdout).toMatch(/core +local +started +Ready after \d+ ms/);
  expect(logs.stdout).toMatch(/Now: core [0-9a-f]{12} on local: (running|paused)/);

  expect((await product.cli(['sandbox', 'rm', short])).stdout).toContain('1 container of');
  product.telegram.people.says(owner, owner, 'exec: echo again-$(cat answer)');
  await product.hears(owner, /again-42/);

  expect((await product.cli(['sandbox', 'rm', short, '--workspace', '--yes'])).stdout).toContain('files are deleted');
  const workspaces = path.join(product.folder, 'data/workspaces');
  expect(readdirSync(workspaces).filter((name) => name.includes(sessionId))).toEqual([]);
  product.telegram.people.says(owner, owner, 'exec: ls answer || echo begun-anew');
  await product.hears(owner, /begun-anew/);
});

test('a full disk is told to the agent as what it is, and the chat goes on', async () => {
  product.telegram.people.says(owner, owner, 'exec: head -c 200m /dev/zero > big; echo full-$?');
  await product.hears(owner, /full-1/);
  product.telegram.people.says(owner, owner, 'exec: rm big; echo room-again > f && cat f');
  await product.hears(owner, /room-again/);
});

test('what a killed process leaves is gone after a prune, and what is needed stays', async () => {
  // The one that waits for the next session is there, too: nothing is being made while the process dies.
  await eventually(async () => {
    const sessions = (await list()).map(({ sessionId }) => sessionId);
    expect(sessions).toContain('');
    expect(sessions.length).toBeGreaterThan(1);
  });
  await product.kill('up');
  const pruned = await product.cli(['sandbox', 'prune', '--json']);
  const { removed } = JSON.parse(pruned.stdout.trim().split('\n').at(-1) ?? '{}');
  expect(removed).toBeGreaterThan(0);
  expect(await list()).toEqual([]);
  await product.start('up');
  product.telegram.people.says(owner, owner, 'exec: echo kept-$(cat f)');
  await product.hears(owner, /kept-room-again/);
});
