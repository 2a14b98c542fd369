import { z } from 'zod';
import type { Tool } from './tool.ts';
import { outputCharactersMax } from './tool-output.ts';

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The file, below /workspace; relative paths are taken from there.'),
  offset: z.int().min(0).optional().describe('Start at this byte. Default: 0.'),
  bytes: z
    .int()
    .min(1)
    .max(outputCharactersMax)
    .optional()
    .describe(`Read at most this. Default: ${outputCharactersMax}.`),
});

/** Reads a text file of the workspace, in parts when it is long. */
export function readFileTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'read_file',
    description:
      'Read a text file of the workspace. Returns its text; when there is more, the last line says at which offset to ' +
      'go on. Use search_files to find the right place in a large file first.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ path }) => ({ action: 'file.read', resource: path, risk: 'low', summary: `Read ${path}` }),
    run: async ({ path, offset = 0, bytes = outputCharactersMax }, context) => {
      const sandbox = await context.sandbox();
      const { text, totalBytes } = await sandbox.readFile(path, { offset, bytesMax: bytes, signal: context.signal });
      const next = offset + Buffer.byteLength(text);
      if (text === '' && totalBytes > 0 && offset >= totalBytes) {
        return { text: `${path} has only ${totalBytes} bytes; there is nothing at ${offset}.`, isError: true };
      }
      if (text.includes('\uFFFD') && isMostlyBinary(text)) {
        return { text: `${path} is not text (${totalBytes} bytes). Use exec to look into it.`, isError: true };
      }
      const more = next < totalBytes ? `\n\n[${next} of ${totalBytes} bytes read; go on with offset ${next}]` : '';
      return { text: text === '' ? '(the file is empty)' : text + more, isError: false };
    },
  };
}

/** More than one character in ten that is no text. */
function isMostlyBinary(text: string): boolean {
  return text.replaceAll(/[^\uFFFD\u0001-\u0008\u000e-\u001a]/g, '').length * 10 > text.length;
}
