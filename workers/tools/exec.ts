import { z } from 'zod';
import type { ExecResult } from '../sandbox/sandbox.ts';
import { commandRisk } from './command-risk.ts';
import type { Tool } from './tool.ts';
import { outputCharactersMax, plainOutput, truncateMiddle } from './tool-output.ts';

/** Bytes kept of a command's output; characters may take more than one, escape sequences are dropped later. */
const outputBytesMax = 2 * outputCharactersMax;
const secondMs = 1000;
const mebibyte = 1 << 20;

const parameters = z.strictObject({
  command: z.string().min(1).max(100_000).describe('A bash command line. Several steps may be joined with &&.'),
  working_directory: z
    .string()
    .max(4096)
    .optional()
    .describe('Where to run it, below /workspace. Default: /workspace.'),
  stdin: z.string().max(mebibyte).optional().describe('Text for the standard input. Default: empty.'),
  timeout_seconds: z
    .int()
    .min(1)
    .max(3600)
    .optional()
    .describe('End it after this time. Default and upper bound: the limit of the agent.'),
});

/** Runs a command in the session's sandbox. */
export function execTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'exec',
    description:
      'Run a bash command in the sandbox: a Linux container without network, with bash, coreutils, git, ripgrep, jq, ' +
      'python3 and tmux. Files below /workspace last as long as the session; /tmp and the home do not. Every call is a ' +
      'new shell: directory changes and variables do not carry over. Returns the exit code and standard output and ' +
      'error together; very long output loses its middle. A command that would not end is stopped at its timeout.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ command, working_directory }) => ({
      action: 'tool.exec',
      resource: command,
      risk: commandRisk(command),
      summary: command,
      ...(working_directory === undefined ? {} : { workingDirectory: working_directory }),
    }),
    run: async ({ command, working_directory, stdin, timeout_seconds }, context) => {
      const bound = context.agent.sandbox.timeout_seconds;
      const sandbox = await context.sandbox();
      const result = await sandbox.exec({
        command,
        timeoutMs: Math.min(timeout_seconds ?? bound, bound) * secondMs,
        outputBytesMax,
        signal: context.signal,
        onOutput: (chunk) => context.progress(plainOutput(chunk)),
        ...(working_directory === undefined ? {} : { workingDirectory: working_directory }),
        ...(stdin === undefined ? {} : { stdin }),
      });
      const output = truncateMiddle(plainOutput(result.output).trimEnd());
      return {
        text: `${headline(result)}\n${output === '' ? '(no output)' : output}`,
        isError: result.ended !== 'exit' || result.exitCode !== 0,
      };
    },
  };
}

function headline(result: ExecResult): string {
  const after = `after ${(result.durationMs / secondMs).toFixed(1)} s`;
  switch (result.ended) {
    case 'exit':
      return `Exit code ${result.exitCode ?? 'unknown'} ${after}.`;
    case 'timeout':
      return `Stopped at the timeout, ${after}; it and everything it started were ended.`;
    case 'cancelled':
      return `Cancelled ${after}; it and everything it started were ended.`;
    case 'oom':
      return `Killed ${after} because the sandbox ran out of memory; use less at once.`;
  }
}
