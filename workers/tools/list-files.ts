import { z } from 'zod';
import type { Tool } from './tool.ts';
import { shownName, truncateMiddle } from './tool-output.ts';

const entriesMax = 500;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).optional().describe('The directory, below /workspace. Default: /workspace.'),
  recursive: z.boolean().optional().describe('Also what lies in its directories. Default: false.'),
});

/** Lists a directory of the workspace. */
export function listFilesTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'list_files',
    description:
      'List files of the workspace, one a line: directories end in /, links in @, files show their bytes. With ' +
      `recursive it goes down, but not into .git and node_modules. Shows at most ${entriesMax} entries.`,
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ path = '/workspace' }) => ({ action: 'file.list', resource: path, risk: 'low', summary: `List ${path}` }),
    run: async ({ path = '/workspace', recursive = false }, context) => {
      const sandbox = await context.sandbox();
      const { entries, isTruncated } = await sandbox.listFiles(path, { recursive, entriesMax, signal: context.signal });
      if (entries.length === 0) return { text: `${path} is empty.`, isError: false };
      const lines = entries.map(({ path: name, type, bytes }) => {
        const shown = shownName(name);
        if (type === 'directory') return `${shown}/`;
        return type === 'file' ? `${shown} (${bytes})` : `${shown}@`;
      });
      if (isTruncated) lines.push(`[more than ${entries.length} entries; list a directory further down]`);
      return { text: truncateMiddle(lines.join('\n')), isError: false };
    },
  };
}
