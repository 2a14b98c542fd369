import path from 'node:path';
import { describeBytes, safeFileName, unusedName } from '#core/files/file-name.ts';
import { fitsModels, pictureEdgeMax, readPicture } from '#core/files/picture.ts';
import { filePart, saveFile } from '#core/files/save-file.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { idFrom } from '#core/kit/ids.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { DriverDone } from '../browser/driver-protocol.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { keepPicture, scaleInside } from './keep-picture.ts';
import type { SendFileDeps } from './send-file.ts';
import type { ToolContext, ToolImage } from './tool.ts';

/** Largest file carried between the browser and the workspace; it passes through this worker's memory. */
const carryBytesMax = 20 * 1024 * 1024;
const shotBytesMax = 8 * 1024 * 1024;
/** Where downloads lie in the session's workspace, and uploads in the browser's container. */
const downloadsFolder = 'downloads';
const uploadsFolder = '/workspace/uploads';
const takenMax = 1_000;

type File = NonNullable<DriverDone['file']>;

/**
 * Keeps the picture the browser made for the model to see, and posts it to the thread when asked.
 * @returns what came of the posting, and the picture as vendors take it, if they take it.
 */
export async function keepScreenshot(
  deps: SendFileDeps,
  browser: Sandbox,
  file: File,
  options: { readonly context: ToolContext; readonly isPosted: boolean; readonly caption: string },
): Promise<{ readonly images: readonly ToolImage[]; readonly told: string }> {
  const { context, isPosted, caption } = options;
  const { signal } = context;
  const { bytes, totalBytes } = await browser.readBytes(file.path, { bytesMax: shotBytesMax + 1, signal });
  if (totalBytes > shotBytesMax || bytes.byteLength > shotBytesMax) {
    throw tooLarge('The picture', totalBytes, 'Take one of the window alone, or of one element.');
  }
  // Whoever sits in the container could have put anything there.
  const facts = readPicture(bytes);
  if (facts?.mime !== 'image/png' || Math.max(facts.width, facts.height) > pictureEdgeMax) {
    throw new AppError('sandbox.protocol', 'The browser gave no picture.', { mend: 'Try again.' });
  }
  const shown = fitsModels(bytes, facts) ? { bytes, facts } : await scaleInside(browser, file.path, signal);
  const name = safeFileName(file.name);
  const told = isPosted ? await post(deps, context, { name, bytes, caption }) : '';
  return { images: shown === undefined ? [] : [await keepPicture(deps.db, context, { name, ...shown })], told };
}

async function post(
  deps: SendFileDeps,
  context: ToolContext,
  picture: { readonly name: string; readonly bytes: Uint8Array; readonly caption: string },
): Promise<string> {
  const { origin, turnId, sessionId, callKey } = context;
  const { name, bytes, caption } = picture;
  const uploadMax = deps.findSender(origin.channel, origin.account)?.capabilities(origin).uploadBytesMax ?? 0;
  if (bytes.byteLength > uploadMax) return ' This channel takes no such files, so it was not posted.';
  const key = `turn:${turnId}:screenshot:${callKey}`;
  await deps.db.transaction().execute(async (tx) => {
    const stored = await saveFile(tx, { id: idFrom(key), name, bytes });
    await putMessages(tx, [
      {
        key,
        conversation: origin,
        importance: 'result',
        sessionId,
        turnId,
        body: {
          parts: [{ type: 'markdown', markdown: caption }, filePart(stored)],
          ...(origin.kind !== 'dm' && origin.messageId !== undefined ? { replyTo: origin.messageId } : {}),
        },
      },
    ]);
  });
  return ' It is in the thread.';
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
