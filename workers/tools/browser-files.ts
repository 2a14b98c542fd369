import path from 'node:path';
import { describeBytes, safeFileName, unusedName } from '#core/files/file-name.ts';
import { filePart, type StoredFile, saveFile } from '#core/files/save-file.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { idFrom } from '#core/kit/ids.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { DriverDone } from '../browser/driver-protocol.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { SendFileDeps } from './send-file.ts';
import type { ToolContext } from './tool.ts';

/** Largest file carried between the browser and the workspace; it passes through this worker's memory. */
const carryBytesMax = 20 * 1024 * 1024;
const shotBytesMax = 8 * 1024 * 1024;
/** Where downloads lie in the session's workspace, and uploads in the browser's container. */
const downloadsFolder = 'downloads';
const uploadsFolder = '/workspace/uploads';
const takenMax = 1_000;

type File = NonNullable<DriverDone['file']>;

/** Stores the picture the browser made, and posts it to the thread when asked. @returns what came of the posting. */
export async function keepScreenshot(
  deps: SendFileDeps,
  browser: Sandbox,
  file: File,
  options: { readonly context: ToolContext; readonly isPosted: boolean; readonly caption: string },
): Promise<{ readonly stored: StoredFile; readonly told: string }> {
  const { context, isPosted, caption } = options;
  const { origin, turnId, sessionId, callKey, signal } = context;
  const { bytes, totalBytes } = await browser.readBytes(file.path, { bytesMax: shotBytesMax + 1, signal });
  if (totalBytes > shotBytesMax || bytes.byteLength > shotBytesMax) {
    throw tooLarge('The picture', totalBytes, 'Take one of the window alone, or of one element.');
  }
  const key = `turn:${turnId}:screenshot:${callKey}`;
  const uploadMax = deps.findSender(origin.channel, origin.account)?.capabilities(origin).uploadBytesMax ?? 0;
  const canPost = isPosted && bytes.byteLength <= uploadMax;
  const stored = await deps.db.transaction().execute(async (tx) => {
    const picture = await saveFile(tx, { id: idFrom(key), name: safeFileName(file.name), bytes });
    // Whoever sits in the container could have put anything there.
    if (picture.mime !== 'image/png') {
      throw new AppError('sandbox.protocol', `The browser gave ${picture.mime} for a picture.`, {
        mend: 'Try again.',
      });
    }
    if (canPost) {
      await putMessages(tx, [
        {
          key,
          conversation: origin,
          importance: 'result',
          sessionId,
          turnId,
          body: {
            parts: [{ type: 'markdown', markdown: caption }, filePart(picture)],
            ...(origin.kind !== 'dm' && origin.messageId !== undefined ? { replyTo: origin.messageId } : {}),
          },
        },
      ]);
    }
    return picture;
  });
  if (!isPosted) return { stored, told: '' };
  return {
    stored,
    told: canPost ? ' It is in the thread.' : ' This channel takes no such files, so it was not posted.',
  };
}

/** Moves what the browser downloaded into the session's workspace. @returns one sentence on it. */
export async function takeDownload(browser: Sandbox, core: Sandbox, file: File, signal: AbortSignal): Promise<string> {
  const { bytes, totalBytes } = await browser.readBytes(file.path, { bytesMax: carryBytesMax + 1, signal });
  await browser.deleteFile(file.path, { recursive: false, signal }).catch(() => undefined);
  if (totalBytes > carryBytesMax || bytes.byteLength > carryBytesMax) {
    throw tooLarge('The download', totalBytes, `At most ${describeBytes(carryBytesMax)} are carried over.`);
  }
  const name = unusedName(safeFileName(file.name), await namesIn(core, signal));
  const place = path.posix.join(downloadsFolder, name);
  await core.writeFile(place, bytes, { append: false, signal });
  return `Saved ${place} in the workspace (${describeBytes(bytes.byteLength)}).`;
}

/** Puts a file of the session's workspace where the browser can take it from. @returns its path there. */
export async function lendFile(core: Sandbox, browser: Sandbox, file: string, signal: AbortSignal): Promise<string> {
  const { bytes, totalBytes } = await core.readBytes(file, { bytesMax: carryBytesMax + 1, signal });
  if (totalBytes > carryBytesMax || bytes.byteLength > carryBytesMax) {
    throw tooLarge(file, totalBytes, `At most ${describeBytes(carryBytesMax)} can be given to a page.`);
  }
  const place = path.posix.join(uploadsFolder, safeFileName(path.posix.basename(file)));
  await browser.writeFile(place, bytes, { append: false, signal });
  return place;
}

async function namesIn(core: Sandbox, signal: AbortSignal): Promise<ReadonlySet<string>> {
  try {
    const options = { recursive: false, entriesMax: takenMax, signal };
    const { entries } = await core.listFiles(downloadsFolder, options);
    return new Set(entries.map((entry) => path.posix.basename(entry.path)));
  } catch (err) {
    if (isAppError(err, 'tool.invalid_arguments')) return new Set();
    throw err;
  }
}

function tooLarge(what: string, bytes: number, mend: string): AppError {
  return new AppError('file.too_large', `${what} has ${describeBytes(bytes)}, which is too much.`, { mend });
}
