import { z } from 'zod';
import type { Tool } from './tool.ts';
import { plainOutput, truncateMiddle } from './tool-output.ts';

const matchesMax = 200;

const parameters = z.strictObject({
  pattern: z.string().min(1).max(1000).describe('A regular expression in ripgrep’s syntax.'),
  path: z.string().min(1).max(4096).optional().describe('Where to search, below /workspace. Default: everywhere.'),
  glob: z.string().min(1).max(500).optional().describe('Only files whose path matches, such as *.ts or src/**.'),
});

/** Searches the text of workspace files. */
export function searchFilesTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'search_files',
    description:
      'Search the text of workspace files with ripgrep. Returns one match a line as path:line: text. Skips binary ' +
      `files, .git, node_modules and what .gitignore names. Shows at most ${matchesMax} matches.`,
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ pattern, path = '/workspace' }) => ({
      action: 'file.search',
      resource: path,
      risk: 'low',
      summary: `Search ${path} for ${pattern.slice(0, 200)}`,
    }),
    run: async ({ pattern, path, glob }, context) => {
      const sandbox = await context.sandbox();
      const { matches, isTruncated } = await sandbox.searchFiles(pattern, {
        matchesMax,
        signal: context.signal,
        ...(path === undefined ? {} : { path }),
        ...(glob === undefined ? {} : { glob }),
      });
      if (matches.length === 0) return { text: 'No match.', isError: false };
      const lines = matches.map((match) => `${match.path}:${match.line}: ${plainOutput(match.text)}`);
      if (isTruncated) lines.push(`[there are more than ${matches.length} matches; narrow the pattern, path or glob]`);
      return { text: truncateMiddle(lines.join('\n')), isError: false };
    },
  };
}
