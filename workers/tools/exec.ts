import { z } from 'zod';
import type { ExecResult } from '../sandbox/sandbox.ts';
import { commandRisk } from './command-risk.ts';
import { describeJob, jobOutputBytesMax, jobSecondsMax, nearLine } from './show-job.ts';
import { showOutput } from './show-output.ts';
import type { Tool, ToolContext, ToolResult } from './tool.ts';
import { clipped, outputCharactersMax, plainOutput, truncateMiddle } from './tool-output.ts';

/** Bytes kept of a command's output; characters may take more than one, escape sequences are dropped later. */
const outputBytesMax = 2 * outputCharactersMax;
const secondMs = 1000;
const mebibyte = 1 << 20;
/** How long a background command is watched before the model goes on: most that fail at once have failed by then. */
const firstLookMs = 1_500;

const parameters = z.strictObject({
  command: z.string().min(1).max(100_000).describe('A bash command line; join steps with &&.'),
  working_directory: z.string().max(4096).optional().describe('Below /workspace. Default: /workspace.'),
  stdin: z.string().max(mebibyte).optional().describe('Text for standard input. Default: empty.'),
  timeout_seconds: z.int().min(1).max(jobSecondsMax).optional().describe('Default and bound: the limit of the agent.'),
  background: z
    .boolean()
    .optional()
    .describe('For servers and long work: return at once with a job id. Default: false.'),
});

type Arguments = z.infer<typeof parameters>;

/** Runs a command in the session's sandbox. */
export function execTool(): Tool<Arguments> {
  const describe = (network: string) =>
    `Run a bash command in the sandbox: a Linux container ${network}, with coreutils, git, rg, jq, python3, node and ` +
    'tmux. Only /workspace is kept. Every call is a new shell: cd and variables do not carry over. Returns exit code ' +
    'and output, a very long one without its middle. Prefer the file tools for files.';
  return {
    name: 'exec',
    description: describe('without network'),
    describe: (agent) =>
      describe(
        agent.sandbox.network === 'gateway'
          ? 'that reaches only allowed hosts, by HTTP proxy (ask for https://host/path as http://gateway/host/path)'
          : 'without network',
      ),
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ command, working_directory, background, stdin }) => ({
      action: 'tool.exec',
      resource: command,
      risk: commandRisk(command),
      summary: [
        command,
        ...(background === true ? ['# goes on in the background'] : []),
        ...(stdin === undefined ? [] : [`# with the input:\n${clipped(stdin)}`]),
      ].join('\n'),
      ...(stdin === undefined ? {} : { isOnce: true }),
      ...(working_directory === undefined ? {} : { workingDirectory: working_directory }),
    }),
    run: async (args, context) => (args.background === true ? await start(args, context) : await run(args, context)),
  };
}

async function run({ command, working_directory, stdin, timeout_seconds }: Arguments, context: ToolContext) {
  return await runShown(context, {
    command,
    timeoutSeconds: timeout_seconds,
    ...(working_directory === undefined ? {} : { workingDirectory: working_directory }),
    ...(stdin === undefined ? {} : { stdin }),
  });
}

/** Runs a command within the agent's time, shows where it is, and says how it ended. */
export async function runShown(
  context: ToolContext,
  request: {
    readonly command: string;
    readonly timeoutSeconds: number | undefined;
    readonly workingDirectory?: string;
    readonly stdin?: string;
  },
): Promise<ToolResult> {
  const { timeoutSeconds, ...rest } = request;
  const bound = context.agent.sandbox.timeout_seconds;
  const sandbox = await context.sandbox();
  using shown = showOutput(context);
  const result = await sandbox.exec({
    ...rest,
    timeoutMs: Math.min(timeoutSeconds ?? bound, bound) * secondMs,
    outputBytesMax,
    signal: context.signal,
    onOutput: shown.push,
  });
  const output = truncateMiddle(plainOutput(result.output).trimEnd());
  return {
    text: `${headline(result)}\n${output === '' ? '(no output)' : output}${hint(result)}${nearLine(result)}`,
    isError: result.ended !== 'exit' || result.exitCode !== 0,
  };
}

async function start({ command, working_directory, stdin, timeout_seconds }: Arguments, context: ToolContext) {
  const { signal } = context;
  const sandbox = await context.sandbox();
  const { id } = await sandbox.startJob({
    command,
    timeoutMs: (timeout_seconds ?? jobSecondsMax) * secondMs,
    signal,
    ...(working_directory === undefined ? {} : { workingDirectory: working_directory }),
  });
  if (stdin !== undefined) await sandbox.writeJob(id, stdin, { end: true, signal });
  const read = { offset: 0, bytesMax: jobOutputBytesMax, waitMs: firstLookMs, signal };
  const seen = await sandbox.readJob(id, read);
  return { text: `Started ${id}. Read on with job_output.\n${describeJob(seen)}`, isError: false };
}

function headline(result: ExecResult): string {
  const after = `after ${(result.durationMs / secondMs).toFixed(1)} s`;
  switch (result.ended) {
    case 'exit':
      return `Exit code ${result.exitCode ?? 'unknown'} ${after}.`;
    case 'timeout':
      return `Stopped at the timeout, ${after}; it and everything it started were ended. Use background for longer work.`;
    case 'cancelled':
      return `Cancelled ${after}; it and everything it started were ended.`;
    case 'oom':
      return `Killed ${after} because the sandbox ran out of memory; use less at once.`;
  }
}

/** What a program's own message does not say: which disk it is, and what to do. */
function hint({ ended, exitCode, output }: ExecResult): string {
  if (ended !== 'exit' || exitCode === 0) return '';
  return /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(output)
    ? '\n[The disk of the sandbox is full: /workspace has a limit, /tmp and the home hold 64 MB. Delete what is not needed.]'
    : '';
}
