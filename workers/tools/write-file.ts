import { z } from 'zod';
import type { Tool } from './tool.ts';
import { clipped } from './tool-output.ts';

const mebibyte = 1 << 20;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The file, below /workspace. Missing directories are made.'),
  content: z
    .string()
    .max(4 * mebibyte)
    .describe('The whole new text, or with append the text to add.'),
  append: z.boolean().optional().describe('Add to the end instead of replacing. Default: false.'),
});

/** Writes or extends a file of the workspace. */
export function writeFileTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'write_file',
    description:
      'Write a text file in the workspace: replaces the whole file, or with append adds to its end. For a change in an ' +
      'existing file use edit_file.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ path, content, append }) => ({
      action: 'file.write',
      resource: path,
      risk: 'medium',
      summary: `${append === true ? 'Append to' : 'Write'} ${path} (${Buffer.byteLength(content)} bytes)\n${clipped(content)}`,
    }),
    run: async ({ path, content, append = false }, context) => {
      const sandbox = await context.sandbox();
      const { bytes } = await sandbox.writeFile(path, content, { append, signal: context.signal });
      return { text: `${append ? 'Appended' : 'Wrote'} ${bytes} bytes to ${path}.`, isError: false };
    },
  };
}
