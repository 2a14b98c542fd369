import { z } from 'zod';
import { requireWholeTree } from './path-rules.ts';
import type { Tool } from './tool.ts';

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('A file or directory below /workspace.'),
  recursive: z.boolean().optional().describe('Also a directory that is not empty. Default: false.'),
});

/** Deletes a file of the workspace. Nothing brings it back, so the risk is high and it is asked for each time. */
export function deleteFileTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'delete_file',
    description: 'Delete a file, link or empty directory of the workspace, or with recursive all that is in it.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ path, recursive }) => ({
      action: 'file.delete',
      resource: path,
      risk: 'high',
      summary: recursive === true ? `Delete ${path} and everything in it` : `Delete ${path}`,
    }),
    run: async ({ path, recursive = false }, context) => {
      const sandbox = await context.sandbox();
      if (recursive) await requireWholeTree(context, sandbox, path, [{ action: 'file.delete', at: path }]);
      await sandbox.deleteFile(path, { recursive, signal: context.signal });
      return { text: `Deleted ${path}.`, isError: false };
    },
  };
}
