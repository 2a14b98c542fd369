import { AppError } from '#core/kit/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { namesOf, nulToLines, quoted } from '../tools/shell-quote.ts';
import type { ToolContext } from '../tools/tool.ts';
import { plainOutput } from '../tools/tool-output.ts';
import { gitEnvironment } from './git-environment.ts';

/** Longest one git command may take: a checkout of a large repository on a slow disk. */
const gitMsMax = 180_000;
/** Bytes of output of one command that is read. */
const outputBytesMax = 1 << 20;
const errorCharsMax = 600;

interface GitResult {
  readonly isOk: boolean;
  readonly exitCode: number | undefined;
  /** Standard output; of a command that failed, what it said after that. */
  readonly output: string;
}

interface GitOptions {
  readonly stdin?: string;
  /** Such as an index of its own. */
  readonly variables?: Readonly<Record<string, string>>;
}

/** Git in one directory of a workspace, with nothing of the repository's own that could run. */
export interface Git {
  readonly directory: string;
  try(args: readonly string[], options?: GitOptions): Promise<GitResult>;
  /** Its output without the last line break. @throws AppError `tool.invalid_arguments` with what git said. */
  run(args: readonly string[], options?: GitOptions): Promise<string>;
  /** Names that one command prints, given to another as they are; those that pass no filter are left out. */
  pipe(from: readonly string[], filter: string, into: readonly string[]): Promise<void>;
  /** Names ended by NUL, of commands that are given `-z`. */
  names(args: readonly string[], options?: GitOptions): Promise<readonly string[]>;
}

type GitContext = Pick<ToolContext, 'agent' | 'signal'>;

/**
 * Opens git in a directory of the workspace.
 * @throws AppError `tool.invalid_arguments` when it lies in no repository, or in one that cannot be made harmless.
 */
export async function openGit(context: GitContext, sandbox: Sandbox, directory: string): Promise<Git> {
  const author = context.agent.name;
  const bare = gitIn(context, sandbox, directory, gitEnvironment([], author));
  const listed = await bare.try(['config', '--list', '--name-only', '--no-includes', '-z']);
  if (!listed.isOk) throw failed(`${directory} cannot be read by git`, listed.output);
  const { names } = namesOf(listed.output);
  return gitIn(context, sandbox, directory, gitEnvironment(names, author));
}

function gitIn(context: GitContext, sandbox: Sandbox, directory: string, environment: readonly string[]): Git {
  const words = (args: readonly string[], variables: Readonly<Record<string, string>> = {}): string => {
    const own = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    return ['env', '-i', ...environment, ...own, 'git', '--no-pager', ...args].map(quoted).join(' ');
  };
  const call = async (name: string, command: string, stdin?: string): Promise<GitResult> => {
    const result = await sandbox.exec({
      command: script(command),
      workingDirectory: directory,
      timeoutMs: Math.min(gitMsMax, context.agent.sandbox.timeout_seconds * 1000),
      outputBytesMax,
      signal: context.signal,
      ...(stdin === undefined ? {} : { stdin }),
    });
    context.signal.throwIfAborted();
    switch (result.ended) {
      case 'timeout':
      case 'cancelled':
        throw new AppError('sandbox.timeout', `git ${name} took too long and was ended.`, {
          mend: 'Call the tool again: it goes on where it stopped.',
        });
      case 'oom':
        throw new AppError('sandbox.oom', `git ${name} ran out of memory.`);
      case 'exit':
        break;
    }
    if (result.droppedBytes > 0) throw failed(`git ${name} said too much to be read`, '');
    return { isOk: result.exitCode === 0, exitCode: result.exitCode, output: result.output };
  };
  const attempt: Git['try'] = async (args, { stdin, variables } = {}) =>
    await call(args[0] ?? '', `${words(args, variables)}${args.includes('-z') ? ` | ${nulToLines}` : ''}`, stdin);
  const need = async (args: readonly string[], options?: GitOptions): Promise<string> => {
    const result = await attempt(args, options);
    if (!result.isOk) throw failed(`git ${args[0] ?? ''} failed`, result.output);
    return result.output;
  };
  return {
    directory,
    try: attempt,
    run: async (args, options) => (await need(args, options)).replace(/\n$/, ''),
    pipe: async (from, filter, into) => {
      const name = into[0] ?? '';
      const result = await call(name, `${words(from)} | ${filter} | ${words(into)}`);
      if (!result.isOk) throw failed(`git ${name} failed`, result.output);
    },
    names: async (args, options) => namesOf(await need([...args, '-z'], options)).names,
  };
}

/** What a command says on the side is heard only when it fails: it would stand between what is read. */
function script(command: string): string {
  return `set -o pipefail; { said=$( { ${command}; } 2>&1 >&3 ); code=$?; } 3>&1; [ $code = 0 ] || printf '%s' "$said"; exit $code`;
}

function failed(what: string, output: string): AppError {
  const said = plainOutput(output).trim();
  const shown = said.length > errorCharsMax ? `…${said.slice(-errorCharsMax)}` : said;
  return new AppError('tool.invalid_arguments', shown === '' ? `${what}.` : `${what}: ${shown}`);
}
