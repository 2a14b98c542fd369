import { z } from 'zod';
import { stricterPaths } from './path-rules.ts';
import type { Tool } from './tool.ts';
import { plainOutput, shownName, truncateMiddle } from './tool-output.ts';

const matchesMax = 200;
const contextMax = 10;

const parameters = z.strictObject({
  pattern: z.string().min(1).max(1000).describe('A regular expression in ripgrep’s syntax; (?i) ignores case.'),
  path: z.string().min(1).max(4096).optional().describe('File or directory to search. Default: /workspace.'),
  glob: z.string().min(1).max(500).optional().describe('Only files whose path matches, such as *.ts or src/**.'),
  context: z.int().min(0).max(contextMax).optional().describe('Lines to show around each match. Default: 0.'),
});

/** Searches the text of workspace files. */
export function searchFilesTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'search_files',
    description:
      'Search the text of workspace files with ripgrep. One match a line, as path:line: text; context lines have a ' +
      `dash. Skips binary files, .git, node_modules, .worktrees and what .gitignore names. At most ${matchesMax} lines.`,
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ pattern, path = '/workspace' }) => ({
      action: 'file.search',
      resource: path,
      risk: 'low',
      summary: `Search ${path} for ${pattern.slice(0, 200)}`,
    }),
    run: async ({ pattern, path = '.', glob, context: contextLines }, context) => {
      const sandbox = await context.sandbox();
      const { matches, isTruncated } = await sandbox.searchFiles(pattern, {
        path,
        matchesMax,
        signal: context.signal,
        ...(glob === undefined ? {} : { glob }),
        ...(contextLines === undefined ? {} : { contextLines }),
      });
      if (matches.length === 0) return { text: 'No match.', isError: false };
      const hidden = new Set(stricterPaths(context, 'file.search', path, new Set(matches.map((match) => match.path))));
      const lines = matches
        .filter((match) => !hidden.has(match.path))
        .map(({ path: file, line, text, isContext }) =>
          isContext === true
            ? `${shownName(file)}-${line}- ${plainOutput(text)}`
            : `${shownName(file)}:${line}: ${plainOutput(text)}`,
        );
      if (isTruncated) lines.push(`[there are more than ${matches.length} lines; narrow the pattern, path or glob]`);
      if (hidden.size > 0) lines.push(`[${hidden.size} files left out: they need a permission of their own]`);
      return { text: truncateMiddle(lines.join('\n')), isError: false };
    },
  };
}
