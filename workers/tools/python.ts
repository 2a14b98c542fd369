import { z } from 'zod';
import { commandRisk } from './command-risk.ts';
import { runShown } from './exec.ts';
import { quoted, workspaceWord } from './shell-quote.ts';
import type { Risk, Tool } from './tool.ts';
import { clipped } from './tool-output.ts';

const mebibyte = 1 << 20;

const parameters = z
  .strictObject({
    code: z.string().min(1).max(mebibyte).optional().describe('The program. Print what you want to see.'),
    file: z.string().min(1).max(4096).optional().describe('A file below /workspace to run instead of code.'),
    args: z.array(z.string().max(10_000)).max(50).optional().describe('Its sys.argv[1:].'),
    stdin: z.string().max(mebibyte).optional().describe('Standard input, with file only.'),
    timeout_seconds: z.int().min(1).max(3600).optional().describe('Default and bound: the limit of the agent.'),
  })
  .refine(({ code, file }) => (code === undefined) !== (file === undefined), 'give either code or file')
  .refine(({ code, stdin }) => code === undefined || stdin === undefined, 'code is read from standard input itself');

/** Runs Python in the session's sandbox. */
export function pythonTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'python',
    description:
      'Run Python 3 in the sandbox, in /workspace: for calculation and data, without shell quoting. The standard ' +
      'library and Pillow. Returns exit code and output.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ code, file = '', args = [], stdin }) => {
      const call = [file, ...args].map((part) => (/^[\w./=:@%+-]+$/.test(part) ? part : quoted(part))).join(' ');
      const input = stdin === undefined ? '' : `\n# with the input:\n`;
      return {
        action: 'tool.python',
        // All of it, so that a remembered answer holds for nothing else.
        resource: code === undefined ? `${call}${input}${stdin ?? ''}` : `${code}${argumentsNote(args)}`,
        risk: pythonRisk(code ?? ''),
        summary:
          code === undefined
            ? `python3 ${call}${input}${clipped(stdin ?? '')}`
            : `${clipped(code)}${clipped(argumentsNote(args))}`,
      };
    },
    run: async ({ code, file, args = [], stdin, timeout_seconds }, context) => {
      const input = code ?? stdin;
      return await runShown(context, {
        command: `exec python3 -u ${[file === undefined ? '-' : workspaceWord(file), ...args.map(quoted)].join(' ')}`,
        timeoutSeconds: timeout_seconds,
        ...(input === undefined ? {} : { stdin: input }),
      });
    },
  };
}

function argumentsNote(args: readonly string[]): string {
  return args.length === 0 ? '' : `\n# with the arguments ${args.map(quoted).join(' ')}`;
}

/** Calls that hand a command to the system, and what they hand over. */
const commandCalls =
  /\b(?:os\.(?:system|popen)|subprocess\.\w+)\(\s*(\[[^\]]{1,2000}\]|[fr]{0,2}(?:"[^"]{1,2000}"|'[^']{1,2000}'))/g;
/** So many commands in one program nobody reads. */
const callsMax = 50;
const destroys = /\bshutil\.rmtree\(\s*(?:["'](?:\/|~|\/workspace\/?|\.)["']|os\.(?:getcwd\(\)|path\.expanduser))/;

/** Code can do what commands can: never low. High where it plainly destroys, as a help for people who approve. */
function pythonRisk(code: string): Risk {
  if (destroys.test(code)) return 'high';
  let calls = 0;
  for (const [, given = ''] of code.matchAll(commandCalls)) {
    calls += 1;
    if (calls > callsMax) return 'high';
    const line = given.startsWith('[')
      ? Array.from(given.matchAll(/"([^"]*)"|'([^']*)'/g), ([, a, b]) => a ?? b ?? '').join(' ')
      : given.replace(/^[fr]*["']|["']$/g, '');
    if (commandRisk(line) === 'high') return 'high';
  }
  return 'medium';
}
