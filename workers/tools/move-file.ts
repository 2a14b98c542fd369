import { z } from 'zod';
import { requireWholeTree } from './path-rules.ts';
import type { Tool } from './tool.ts';

const parameters = z.strictObject({
  source: z.string().min(1).max(4096).describe('A file or directory below /workspace.'),
  destination: z.string().min(1).max(4096).describe('Its new path. Missing directories are made.'),
  overwrite: z.boolean().optional().describe('Replace what is at the destination. Default: false.'),
});

/** Moves or renames a file of the workspace: it is read and gone at one place and written at the other. */
export function moveFileTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'move_file',
    description: 'Move or rename a file or directory of the workspace.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ source, destination, overwrite }) => ({
      action: 'file.write',
      resource: destination,
      also: [
        { action: 'file.read', resource: source },
        { action: 'file.delete', resource: source },
        ...(overwrite === true ? [{ action: 'file.delete', resource: destination }] : []),
      ],
      risk: 'medium',
      summary: `Move ${source} to ${destination}${overwrite === true ? ', replacing what is there' : ''}`,
    }),
    run: async ({ source, destination, overwrite = false }, context) => {
      const sandbox = await context.sandbox();
      await requireWholeTree(context, sandbox, source, [
        { action: 'file.read', at: source },
        { action: 'file.delete', at: source },
        { action: 'file.write', at: destination },
      ]);
      await sandbox.moveFile(source, destination, { overwrite, signal: context.signal });
      return { text: `Moved ${source} to ${destination}.`, isError: false };
    },
  };
}
