import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { terminalNamePattern } from '#core/sandboxes/terminal-socket.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { commandRisk } from './command-risk.ts';
import { jobSecondsMax } from './show-job.ts';
import {
  askServer,
  awaitServer,
  closeScript,
  exitCodes,
  listScript,
  openScript,
  readScript,
  sendScript,
  serverCommand,
} from './terminal-script.ts';
import type { Tool, ToolClaim, ToolContext, ToolResult } from './tool.ts';
import { clipped, outputCharactersMax, plainOutput, shownName, truncateMiddle } from './tool-output.ts';

const terminalsMax = 6;
const secondMs = 1000;
const quietMs = 700;
/** What a look back shows, what has scrolled away included. */
const linesShown = 200;
const waitSecondsDefault = 10;
/** What tmux itself may take besides the waiting. */
const marginMs = 15_000;
const outputBytesMax = 4 * outputCharactersMax;
const keyPattern =
  /^(?:[CMS]-){0,3}(?:[!-:<-~]|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right|Home|End|PageUp|PageDown|IC|DC|F(?:1[0-2]|[1-9]))$/;
/** What nobody sees who approves it, besides line breaks and tabs. */
const hiddenPattern = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

const parameters = z
  .strictObject({
    action: z.enum(['open', 'send', 'read', 'close', 'list']).describe('One of these.'),
    name: z
      .string()
      .refine((name) => terminalNamePattern.test(name), 'small letters, digits, - and _')
      .optional()
      .describe('Not for list.'),
    command: z.string().min(1).max(50_000).optional().describe('open: program. Default: bash.'),
    text: z
      .string()
      .max(20_000)
      .refine((text) => !hiddenPattern.test(text), 'control characters are sent by keys')
      .optional()
      .describe('send: typed; \\n is Enter.'),
    keys: z
      .array(z.string().refine((key) => keyPattern.test(key), 'such as Enter, C-c, Up, F1 or y'))
      .max(50)
      .optional()
      .describe('send: then pressed: Enter, C-c, Up …'),
    wait_for: z.string().min(1).max(500).optional().describe('send: regex of new lines. Default: silence.'),
    timeout_seconds: z.int().min(1).max(3600).optional().describe(`send. Default: ${waitSecondsDefault}.`),
  })
  .superRefine(({ action, name, text, keys }, check) => {
    if (action !== 'list' && name === undefined) check.addIssue({ code: 'custom', message: `${action} takes a name` });
    if (action === 'send' && (text ?? '') === '' && (keys ?? []).length === 0) {
      check.addIssue({ code: 'custom', message: 'send takes text or keys' });
    }
  });

type Arguments = z.infer<typeof parameters>;

/** Programs that want a terminal: a screen to draw on, and somebody who types. */
export function terminalTool(): Tool<Arguments> {
  return {
    name: 'terminal',
    description:
      'Interactive programs (REPLs, debuggers, installers) in named terminals kept between calls: open starts one, send ' +
      'types and returns what is new, read shows it, close ends it. Use exec where nothing is typed.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    // Looking again is its use.
    mayRepeat: true,
    claim: claimOf,
    run: async (args, context) => {
      const sandbox = await context.sandbox();
      const name = args.name ?? '';
      switch (args.action) {
        case 'open':
          return await open(sandbox, context, name, args);
        case 'send':
          return await send(sandbox, context, name, args);
        case 'read': {
          const output = await call(sandbox, context, { script: readScript(name, linesShown), name });
          return { text: describeScreen(name, output), isError: false };
        }
        case 'close':
          await call(sandbox, context, { script: closeScript(name), name });
          return { text: `Closed ${name} and ended its program.`, isError: false };
        case 'list': {
          const output = await call(sandbox, context, { script: listScript, name });
          return { text: describeList(output), isError: false };
        }
      }
    },
  };
}

/** What is typed is decided like a command, because a shell at the other end would run it. */
function claimOf({ action, name = '', command, text = '', keys = [] }: Arguments): ToolClaim {
  switch (action) {
    case 'open': {
      const program = command ?? 'bash';
      return {
        action: 'tool.exec',
        resource: program,
        risk: commandRisk(program) === 'high' ? 'high' : 'medium',
        summary: `${program}\n# in the terminal ${name}`,
      };
    }
    case 'send': {
      const typed = `${text}${keys.map(typedBy).join('')}`;
      const shown = keys.length === 0 ? '' : `\n[${keys.join(' ')}]`;
      return {
        action: 'tool.exec',
        resource: typed.trim() === '' ? `terminal ${name} ${keys.join(' ')}` : typed,
        risk: commandRisk(typed) === 'high' ? 'high' : 'medium',
        summary: `Type into the terminal ${name}:\n${clipped(text)}${shown}`,
        isOnce: true,
      };
    }
    case 'read':
    case 'close':
    case 'list':
      return {
        action: 'tool.job',
        resource: action,
        risk: 'low',
        summary: `Terminal ${name}: ${action}`.replace(' :', ':'),
      };
  }
}

/** The text a key types: letters pressed one by one are a command as well. */
function typedBy(key: string): string {
  if (key.length === 1) return key;
  if (key === 'Space') return ' ';
  return key === 'Enter' ? '\n' : '';
}

async function open(sandbox: Sandbox, context: ToolContext, name: string, args: Arguments): Promise<ToolResult> {
  const { signal } = context;
  const ask = async (command: string) =>
    await sandbox.exec({ command, timeoutMs: marginMs, outputBytesMax: 2_000, signal });
  if ((await ask(askServer)).exitCode !== 0) {
    await sandbox.startJob({ command: serverCommand, timeoutMs: jobSecondsMax * secondMs, signal });
    if ((await ask(awaitServer)).exitCode !== 0) {
      throw new AppError('tool.invalid_arguments', 'No terminal could be started in this sandbox.', {
        mend: 'Its image needs tmux; look at job_list, or use exec.',
      });
    }
  }
  await call(sandbox, context, {
    script: openScript(name, args.command, terminalsMax),
    name,
  });
  const wait = { pattern: undefined, quietMs, timeoutMs: 3 * secondMs, isWhole: true };
  const output = await call(sandbox, context, { script: sendScript(name, [], wait), name, waitMs: wait.timeoutMs });
  return { text: `Opened ${name}. ${describeScreen(name, output)}`, isError: false };
}

async function send(sandbox: Sandbox, context: ToolContext, name: string, args: Arguments): Promise<ToolResult> {
  const bound = context.agent.sandbox.timeout_seconds;
  const timeoutMs = Math.min(args.timeout_seconds ?? waitSecondsDefault, bound) * secondMs;
  const wait = { pattern: args.wait_for, quietMs, timeoutMs };
  const output = await call(sandbox, context, {
    script: sendScript(name, args.keys ?? [], wait),
    name,
    stdin: args.text ?? '',
    waitMs: timeoutMs,
  });
  const isMissed = args.wait_for !== undefined && !output.startsWith('found ');
  return { text: describeScreen(name, output, isMissed ? args.wait_for : undefined), isError: false };
}

/** Runs a script and says in words why there is nothing to work on. */
async function call(
  sandbox: Sandbox,
  { signal }: ToolContext,
  request: {
    readonly script: string;
    readonly name: string;
    readonly stdin?: string;
    readonly waitMs?: number;
  },
): Promise<string> {
  const { script, name, stdin, waitMs = 0 } = request;
  const result = await sandbox.exec({
    command: script,
    timeoutMs: waitMs + marginMs,
    outputBytesMax,
    signal,
    ...(stdin === undefined ? {} : { stdin }),
  });
  signal.throwIfAborted();
  const problem = problemOf(result.exitCode, name, result.output);
  if (problem !== undefined) throw problem;
  return result.output;
}

function problemOf(exitCode: number | undefined, name: string, output: string): AppError | undefined {
  const refused = (message: string, mend: string) => new AppError('tool.invalid_arguments', message, { mend });
  switch (exitCode) {
    case 0:
      return undefined;
    case exitCodes.noTerminal:
      return refused(
        `There is no terminal ${name}.`,
        `Open it. Terminals end with their sandbox, when that is removed or replaced, and after ${jobSecondsMax / 3600} hours.`,
      );
    case exitCodes.exists:
      return refused(`There is a terminal ${name} already.`, 'Use it, or close it first.');
    case exitCodes.tooMany:
      return refused(`There are ${terminalsMax} terminals already.`, 'Close one of them.');
    case exitCodes.wrongPattern:
      return refused(`wait_for is no regular expression: ${plainOutput(output).slice(0, 300).trim()}`, 'Mend it.');
    default:
      return refused(
        `The terminal ${name} does not answer: ${plainOutput(output).slice(-300).trim()}`,
        'Close it, or use exec.',
      );
  }
}

const factsPattern = /^(\w+) (\d?) (\d*) ?(\w*)\|(\d?)\n?/;

/** The first line of what a script prints tells how it is; the rest is the screen. */
function describeScreen(name: string, output: string, missed?: string): string {
  const [head = '', ended, dead, status, signal, alternate] = factsPattern.exec(output) ?? [];
  const screen = truncateMiddle(plainOutput(output.slice(head.length)).trimEnd());
  const facts = [
    dead === '1' ? `Its program has ended${howEnded(status, signal)}` : `${name} runs`,
    ...(ended === 'timeout' && missed === undefined ? ['it still writes: read it again later'] : []),
    ...(missed === undefined ? [] : [`nothing new matches ${shownName(missed)}`]),
    ...(alternate === '1' ? ['it uses the whole screen'] : []),
  ];
  return `${facts.join('; ')}.\n${screen === '' ? '(nothing new)' : screen}`;
}

function describeList(output: string): string {
  const lines = output.split('\n').flatMap((line) => {
    const [, name = '', dead, status, signal, program = ''] = /^(\S+) (\d?) (\d*) ?(\w*)\|(.*)$/.exec(line) ?? [];
    if (!terminalNamePattern.test(name)) return [];
    return [
      `${name}: ${dead === '1' ? `ended${howEnded(status, signal)}` : `runs ${shownName(plainOutput(program))}`}`,
    ];
  });
  return lines.length === 0 ? 'No terminals.' : lines.join('\n');
}

function howEnded(status = '', signal = ''): string {
  if (signal !== '') return ` by signal ${signal}`;
  return status === '' ? '' : ` with exit code ${status}`;
}
