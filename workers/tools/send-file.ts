import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { describeBytes } from '#core/files/file-name.ts';
import { filePart, saveFile } from '#core/files/save-file.ts';
import type { Db } from '#core/kit/database.ts';
import { idFrom } from '#core/kit/ids.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { Tool } from './tool.ts';

/** Largest file sent, where the channel would take more: it passes through this worker's memory and the database. */
const sendBytesMax = 10 * 1024 * 1024;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The file, below /workspace; relative paths are taken from there.'),
  caption: z.string().max(1000).optional().describe('One or two sentences shown with it. Default: none.'),
});

export interface SendFileDeps {
  readonly db: Db;
  readonly findSender: (channel: string, account: string) => ChannelSender | undefined;
}

/** Posts a file of the workspace to the thread the work came from. */
export function sendFileTool(deps: SendFileDeps): Tool<z.infer<typeof parameters>> {
  return {
    name: 'send_file',
    description:
      'Send a file of the workspace to the person, into the thread the request came from: a report, an image, an ' +
      'archive. Send only what was asked for or plainly helps. Long text belongs into a file like this, not into an ' +
      'answer. Files above 10 MB, or above what the chat takes, are refused: compress or split them first.',
    parameters,
    isParallelSafe: false,
    // The same file under the same path is sent once in a turn, however often it is asked for.
    isIdempotent: true,
    claim: ({ path: file }) => ({
      action: 'file.send',
      resource: file,
      risk: 'low',
      summary: `Send ${file} to the thread`,
    }),
    run: async ({ path: file, caption = '' }, context) => {
      const { origin, turnId, sessionId, signal } = context;
      const sender = deps.findSender(origin.channel, origin.account);
      const bytesMax = Math.min(sender?.capabilities(origin).uploadBytesMax ?? 0, sendBytesMax);
      if (bytesMax === 0) return refuse('This channel takes no files. Say what is in the file instead.');
      const sandbox = await context.sandbox();
      const { bytes, totalBytes } = await sandbox.readBytes(file, { bytesMax: bytesMax + 1, signal });
      if (totalBytes > bytesMax || bytes.byteLength > bytesMax) {
        return refuse(
          `${file} has ${describeBytes(totalBytes)}; this channel takes ${describeBytes(bytesMax)}. Compress or split it.`,
        );
      }
      if (bytes.byteLength === 0) return refuse(`${file} is empty; chats refuse empty files.`);
      const key = `turn:${turnId}:file:${createHash('sha256').update(`${file}\n`).update(bytes).digest('hex')}`;
      const sent = await deps.db.transaction().execute(async (tx) => {
        const stored = await saveFile(tx, { id: idFrom(key), name: path.posix.basename(file), bytes });
        await putMessages(tx, [
          {
            key,
            conversation: origin,
            importance: 'result',
            sessionId,
            turnId,
            body: {
              parts: [
                ...(caption.trim() === '' ? [] : [{ type: 'markdown' as const, markdown: caption }]),
                filePart(stored),
              ],
              ...(origin.kind !== 'dm' && origin.messageId !== undefined ? { replyTo: origin.messageId } : {}),
            },
          },
        ]);
        return stored;
      });
      return {
        text: `Sent ${sent.name} (${sent.mime}, ${describeBytes(sent.bytes)}) to the thread.`,
        isError: false,
      };
    },
  };
}

function refuse(text: string): { readonly text: string; readonly isError: boolean } {
  return { text: `Not sent: ${text}`, isError: true };
}
