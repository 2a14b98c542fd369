import { afterAll, beforeAll, expect } from 'vitest';
import { attack, limit } from '#tests/support/attack.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { forbiddenCommand } from '#workers/hooks/dangerous-commands.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;

beforeAll(async () => {
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());

for (const [what, command] of [
  ['quotes within a word', `cat /pr""oc/1/env'iron'`],
  ['another shell around it', `bash -c "bash -c 'cat /proc/1/environ'"`],
  ['variables set before it', 'A=1 B=2 env C=3 nohup nice -n 5 cat /proc/1/environ'],
  ['a line in the middle of others', 'cd /tmp\necho hello\ncat /proc/1/environ\necho done'],
  ['a part of a pipe', 'true && (ls | tee x; cat /proc/1/environ) || false'],
] as const) {
  attack('hooks', `a forbidden command behind ${what}`, 'a command is read in every way a shell would', () => {
    expect(forbiddenCommand(command)).toBeDefined();
    expect(forbiddenCommand(command.replace(/\/.*iron'?/, 'README'))).toBeUndefined();
  });
}

limit(
  'hooks',
  'a forbidden command that is put together while it runs',
  'the hook reads text: the container holds what it does, on every engine',
  async () => {
    const disguised = [
      `p=/proc; n=1; cat $p/$n/environ`,
      `python3 - <<< 'print(open("/pr"+"oc/1/environ").read())'`,
      `printf 'cat /%s/1/environ' proc > x.sh; bash x.sh`,
    ];
    for (const command of disguised) {
      expect(forbiddenCommand(command)).toBeUndefined();
      const { output, exitCode } = await run(sandbox, command);
      expect(exitCode).not.toBe(0);
      expect(output).toMatch(/Permission denied|PermissionError/);
    }
  },
);
