import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { namesOf, nulToLines, quoted } from './shell-quote.ts';
import type { Tool } from './tool.ts';
import { shownName, truncateMiddle } from './tool-output.ts';

const filesMax = 300;
/** Files whose times are looked at. */
const sortedMax = 20_000;
const namesBytesMax = 256 << 10;
const findMs = 30_000;

const parameters = z.strictObject({
  pattern: z.string().min(1).max(500).describe('Such as *.ts, src/**/*.{js,ts} or test_*.py.'),
  path: z.string().min(1).max(4096).optional().describe('The directory to look in. Default: /workspace.'),
});

/** Finds files of the workspace by name. */
export function globTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'glob',
    description:
      'Find files of the workspace by a glob pattern, newest first; a pattern without a slash matches at any depth. ' +
      'Skips .git, node_modules and .worktrees.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ pattern, path = '/workspace' }) => ({
      action: 'file.list',
      resource: path,
      risk: 'low',
      summary: `Find ${pattern} in ${path}`,
    }),
    run: async ({ pattern, path = '/workspace' }, context) => {
      const sandbox = await context.sandbox();
      const wanted = quoted(pattern.replace(/^(?:\/workspace\/|\.\/)/, ''));
      const { output } = await sandbox.exec({
        command: findNewest(wanted),
        // The toolbox follows no link out of the workspace to it.
        workingDirectory: path,
        timeoutMs: findMs,
        outputBytesMax: 2 * namesBytesMax,
        signal: context.signal,
      });
      const { names, rest } = namesOf(output);
      // A name begins with a point and a slash; anything else is what ripgrep has to say.
      const [first = rest] = names;
      if (first !== '' && !first.startsWith('./')) throw refused(pattern, output);
      if (names.length === 0) return { text: 'No file matches.', isError: false };
      const lines = names.slice(0, filesMax).map((name) => shownName(name.replace(/^\.\//, '')));
      const left = names.length - filesMax;
      if (left > 0 || rest !== '') lines.push(`[more than ${lines.length} files; narrow the pattern or path]`);
      return { text: truncateMiddle(lines.join('\n')), isError: false };
    },
  };
}

/** ripgrep itself sorts folder by folder only. */
function findNewest(glob: string): string {
  return [
    `rg --no-config --files --hidden --no-ignore --null --glob=${glob} --glob='!.git' --glob='!node_modules' --glob='!.worktrees' .`,
    `head -z -n ${sortedMax}`,
    `xargs -0 -r stat --printf '%.9Y %n\\0' 2>/dev/null`,
    'sort -zrn',
    "cut -z -d' ' -f2-",
    nulToLines,
    `head -c ${namesBytesMax}`,
  ].join(' | ');
}

function refused(pattern: string, message: string): AppError {
  return new AppError(
    'tool.invalid_arguments',
    `The pattern ${pattern} cannot be used: ${message.slice(0, 300).trim()}`,
  );
}
