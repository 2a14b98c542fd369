import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { diffLines, editText } from './edit-text.ts';
import type { Tool, ToolResult } from './tool.ts';
import { clipped } from './tool-output.ts';

const mebibyte = 1 << 20;
const fileBytesMax = 4 * mebibyte;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The file, below /workspace.'),
  old_string: z.string().min(1).max(mebibyte).describe('The exact text to replace, white space included.'),
  new_string: z.string().max(mebibyte).describe('What takes its place; empty deletes it.'),
  replace_all: z.boolean().optional().describe('Replace every occurrence. Default: false.'),
});

/** Replaces an exact text in a file of the workspace. */
export function editFileTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'edit_file',
    description:
      'Replace an exact text in a file of the workspace. It must stand there once, unless replace_all is set: take in ' +
      'enough lines around it. Returns what changed. Read the file first.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ path, old_string, new_string, replace_all }) => ({
      action: 'file.write',
      resource: path,
      risk: 'medium',
      summary: `Edit ${path}${replace_all === true ? ' everywhere' : ''}\n${clipped(diffLines(old_string, new_string))}`,
    }),
    run: async ({ path, old_string, new_string, replace_all = false }, context) => {
      const { signal } = context;
      const sandbox = await context.sandbox();
      const { bytes, totalBytes } = await sandbox.readBytes(path, { bytesMax: fileBytesMax + 1, signal });
      if (totalBytes > fileBytesMax) return refuse(`${path} has ${totalBytes} bytes; use exec with sed or python.`);
      const text = decode(bytes);
      if (text === undefined) return refuse(`${path} is not UTF-8 text; use exec or python.`);
      const edit = editText(text, old_string.toWellFormed(), new_string.toWellFormed(), replace_all);
      if ('problem' in edit) return refuse(edit.problem);
      try {
        await sandbox.writeFile(path, edit.text, { append: false, ifUnchanged: bytes, signal });
      } catch (err) {
        if (!(err instanceof AppError) || err.details?.['errno'] !== 'ESTALE') throw err;
        return refuse(`${path} was changed by something else meanwhile. Read it again.`);
      }
      const times = edit.count === 1 ? '' : ` at ${edit.count} places`;
      return { text: `Edited ${path}${times}.\n${edit.diff}`, isError: false };
    },
  };
}

/** Bytes that are no text would come back as something else; a byte order mark stays. */
function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function refuse(text: string): ToolResult {
  return { text: `Nothing was changed: ${text}`, isError: true };
}
