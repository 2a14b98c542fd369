import path from 'node:path';
import { z } from 'zod';
import { describeBytes } from '#core/files/file-name.ts';
import { fitsModels, isTakenByModels, readPicture } from '#core/files/picture.ts';
import { sniffMime } from '#core/files/sniff-mime.ts';
import type { Db } from '#core/kit/database.ts';
import { keepPicture, scaleInside } from './keep-picture.ts';
import type { Tool, ToolResult } from './tool.ts';

/** Largest file looked at, also for scaling. */
const fileBytesMax = 20 * 1024 * 1024;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The picture, below /workspace.'),
});

/** Shows the model a picture of the workspace. */
export function viewImageTool(deps: { readonly db: Db }): Tool<z.infer<typeof parameters>> {
  return {
    name: 'view_image',
    description: 'Look at a picture of the workspace (PNG, JPEG, WebP, GIF). Large ones are scaled down.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ path: file }) => ({ action: 'file.read', resource: file, risk: 'low', summary: `Look at ${file}` }),
    run: async ({ path: file }, context) => {
      const { signal } = context;
      const sandbox = await context.sandbox();
      const { bytes, totalBytes } = await sandbox.readBytes(file, { bytesMax: fileBytesMax, signal });
      const facts = readPicture(bytes);
      if (facts === undefined) {
        const mime = await sniffMime(bytes);
        if (!mime.startsWith('image/')) return refuse(`${file} is no picture (${mime}, ${describeBytes(totalBytes)}).`);
      }
      const isWhole = totalBytes === bytes.byteLength;
      const original = facts === undefined || !isWhole ? undefined : { bytes, facts };
      const isSmall = original !== undefined && fitsModels(original.bytes, original.facts);
      const scaled = isSmall ? undefined : await scaleInside(sandbox, file, signal);
      const shown =
        scaled ?? (original !== undefined && isTakenByModels(original.bytes, original.facts) ? original : undefined);
      if (shown === undefined) {
        const size = facts === undefined ? '' : `, ${facts.width} by ${facts.height} pixels`;
        return refuse(
          `${file} (${describeBytes(totalBytes)}${size}) is too large or of a type that models do not take, and the sandbox could not make a smaller copy. Convert it first.`,
        );
      }
      const name = path.posix.basename(file);
      const image = await keepPicture(deps.db, context, { name, ...shown });
      const { width, height } = facts ?? shown.facts;
      const note = scaled === undefined ? '' : `, shown as ${scaled.facts.width} by ${scaled.facts.height}`;
      const text = `${file}: ${width} by ${height} pixels, ${describeBytes(totalBytes)}${note}.`;
      return { text, isError: false, images: [image] };
    },
  };
}

function refuse(text: string): ToolResult {
  return { text, isError: true };
}
