import { isTakenByModels, type PictureFacts, pictureEdgeWanted, readPicture } from '#core/files/picture.ts';
import { saveFile } from '#core/files/save-file.ts';
import type { Db } from '#core/kit/database.ts';
import { idFrom } from '#core/kit/ids.ts';
import type { ExecRequest, Sandbox } from '../sandbox/sandbox.ts';
import { workspaceWord } from './shell-quote.ts';
import type { ToolContext, ToolImage } from './tool.ts';

/** Conversations go on for weeks; what is older than this is looked at anew. */
const keptDays = 30;
/** Longest the scaling of one picture may take, and the most that comes back as base64. */
const scaleMs = 30_000;
const base64BytesMax = 4 << 20;

/** Prints a smaller copy as base64. Drawings stay PNG while that is small: JPEG would blur their text. */
const scaler = `import base64, io, sys
from PIL import Image, ImageOps
Image.MAX_IMAGE_PIXELS = 60_000_000
with Image.open(sys.argv[1]) as source:
    drawn = source.format in ('PNG', 'GIF', 'BMP')
    source.draft('RGB', (${pictureEdgeWanted}, ${pictureEdgeWanted}))
    image = ImageOps.exif_transpose(source)
    image = image.convert('RGBA' if 'A' in image.getbands() or 'transparency' in image.info else 'RGB')
    image.thumbnail((${pictureEdgeWanted}, ${pictureEdgeWanted}))
out = io.BytesIO()
if drawn:
    image.save(out, 'PNG')
if not drawn or out.tell() > 1_500_000:
    if image.mode == 'RGBA':
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    out = io.BytesIO()
    image.convert('RGB').save(out, 'JPEG', quality=85)
sys.stdout.write(base64.b64encode(out.getvalue()).decode())
`;

/** Stores a picture for the model to see. The same picture of the same call is stored once. */
export async function keepPicture(
  db: Db,
  context: Pick<ToolContext, 'turnId' | 'callKey'>,
  picture: { readonly name: string; readonly bytes: Uint8Array; readonly facts: PictureFacts },
): Promise<ToolImage> {
  const { name, bytes, facts } = picture;
  const id = idFrom(`turn:${context.turnId}:picture:${context.callKey}:${name}`);
  const stored = await saveFile(db, { id, name, bytes, keptDays });
  return { blobId: stored.id, mime: facts.mime };
}

/**
 * A smaller copy of a picture of the workspace, made inside the sandbox: what opens hostile files must not run outside.
 * @returns undefined where the image has no program for it, or the file cannot be opened.
 */
export async function scaleInside(
  sandbox: Sandbox,
  file: string,
  signal: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly facts: PictureFacts } | undefined> {
  return await readPrinted(sandbox, {
    // Isolated: a module in the workspace would run, and who may write a file may not run one.
    command: `python3 -I - ${workspaceWord(file)}`,
    stdin: scaler,
    timeoutMs: scaleMs,
    signal,
  });
}

/** Runs a command that prints a picture as base64; undefined when it printed none. */
export async function readPrinted(
  sandbox: Sandbox,
  request: Pick<ExecRequest, 'command' | 'stdin' | 'timeoutMs' | 'signal'>,
): Promise<{ readonly bytes: Uint8Array; readonly facts: PictureFacts } | undefined> {
  const result = await sandbox.exec({ ...request, outputBytesMax: base64BytesMax });
  request.signal.throwIfAborted();
  if (result.ended !== 'exit' || result.exitCode !== 0 || result.droppedBytes > 0) return undefined;
  const bytes = Buffer.from(result.output.trim(), 'base64');
  const facts = readPicture(bytes);
  return facts === undefined || !isTakenByModels(bytes, facts) ? undefined : { bytes, facts };
}
