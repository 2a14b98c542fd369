import path from 'node:path';
import { z } from 'zod';
import { pictureEdgeWanted } from '#core/files/picture.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { keepPicture, readPrinted } from './keep-picture.ts';
import { workspaceWord } from './shell-quote.ts';
import type { Tool, ToolContext, ToolImage, ToolResult } from './tool.ts';
import { outputCharactersMax, plainOutput } from './tool-output.ts';

/** Pages of text shown unless told, and pages shown as pictures in one call. */
const textPagesMax = 20;
const picturePagesMax = 4;
/** What one program may take for one PDF; hostile ones never end. */
const pdfMs = 30_000;
const textBytesMax = 4 * outputCharactersMax;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The PDF, below /workspace.'),
  pages: z
    .string()
    .regex(/^[1-9]\d{0,4}(?:-[1-9]\d{0,4})?$/, 'is one page or a range, such as 3 or 2-5')
    .optional()
    .describe(`One page or a range, such as 2-5. Default: the first ${textPagesMax}.`),
  as_images: z
    .boolean()
    .optional()
    .describe(`Show pages as pictures, at most ${picturePagesMax}: for scans, charts and layout. Default: false.`),
});

type Arguments = z.infer<typeof parameters>;

/** Reads a PDF of the workspace, as text or as pictures. It is opened inside the sandbox only. */
export function readPdfTool(deps: { readonly db: Db }): Tool<Arguments> {
  return {
    name: 'read_pdf',
    description: 'Read a PDF of the workspace: its text page by page, or its pages as pictures.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ path: file }) => ({ action: 'file.read', resource: file, risk: 'low', summary: `Read ${file}` }),
    run: async (args, context) => {
      const sandbox = await context.sandbox();
      // The toolbox refuses what is no file of the workspace, a link out of it included.
      const { bytes } = await sandbox.readBytes(args.path, { bytesMax: 1024, signal: context.signal });
      if (!bytes.includes('%PDF-')) return refuse(`${args.path} is no PDF.`);
      const total = await countPages(sandbox, args.path, context.signal);
      const [from, to] = pageRange(args.pages, total, args.as_images === true ? picturePagesMax : textPagesMax);
      if (from > total) return refuse(`${args.path} has only ${total} pages.`);
      return args.as_images === true
        ? await showPages(deps.db, sandbox, args.path, { from, to, total }, context)
        : await readText(sandbox, args.path, { from, to, total }, context.signal);
    },
  };
}

interface Pages {
  readonly from: number;
  readonly to: number;
  readonly total: number;
}

async function countPages(sandbox: Sandbox, file: string, signal: AbortSignal): Promise<number> {
  const output = await runTool(sandbox, `pdfinfo ${workspaceWord(file)}`, 65_536, signal);
  const [, pages] = /^Pages:\s+(\d{1,6})$/m.exec(output) ?? [];
  if (pages === undefined) throw unreadable(output);
  return Number(pages);
}

async function readText(sandbox: Sandbox, file: string, pages: Pages, signal: AbortSignal): Promise<ToolResult> {
  const { from, to, total } = pages;
  const command = `pdftotext -layout -enc UTF-8 -f ${from} -l ${to} ${workspaceWord(file)} -`;
  const output = await runTool(sandbox, command, textBytesMax, signal);
  // pdftotext ends each page with a form feed.
  const texts = output.split('\f').slice(0, to - from + 1);
  const parts: string[] = [];
  let room = outputCharactersMax;
  let last = from - 1;
  for (const [index, raw] of texts.entries()) {
    const text = plainOutput(raw)
      .replaceAll(/[ \t]+$/gm, '')
      .replaceAll(/\n{3,}/g, '\n\n')
      .trim();
    const part = `[page ${from + index} of ${total}]\n${text === '' ? '(no text; as_images shows it)' : text}`;
    // One page may be longer than everything that is shown; then its beginning is better than nothing.
    if (part.length > room && parts.length > 0) break;
    parts.push(part.slice(0, room).toWellFormed());
    room -= part.length;
    last = from + index;
  }
  if (last < total) parts.push(`[go on with pages ${last + 1}-${Math.min(total, last + textPagesMax)}]`);
  return { text: parts.join('\n\n'), isError: false };
}

async function showPages(
  db: Db,
  sandbox: Sandbox,
  file: string,
  { from, to, total }: Pages,
  context: ToolContext,
): Promise<ToolResult> {
  const { signal } = context;
  const images: ToolImage[] = [];
  for (let page = from; page <= to; page += 1) {
    const command =
      `set -o pipefail; pdftoppm -jpeg -jpegopt quality=80 -scale-to ${pictureEdgeWanted} -f ${page} -l ${page} ` +
      `${workspaceWord(file)} 2>/dev/null | base64 -w 0`;
    const picture = await readPrinted(sandbox, { command, timeoutMs: pdfMs, signal });
    if (picture === undefined) break;
    const name = `${path.posix.basename(file)}-${page}.jpg`;
    images.push(await keepPicture(db, context, { name, ...picture }));
  }
  if (images.length === 0) return refuse(`Page ${from} of ${file} could not be drawn.`);
  const last = from + images.length - 1;
  const more = last < total ? ` Go on with pages ${last + 1}-${Math.min(total, last + picturePagesMax)}.` : '';
  const which = images.length === 1 ? `Page ${from}` : `Pages ${from} to ${last}`;
  return { text: `${which} of ${total} of ${file}.${more}`, isError: false, images };
}

/** The wanted pages, as many of them as are shown at once. */
function pageRange(pages: string | undefined, total: number, countMax: number): [number, number] {
  const [first = '1', last] = pages?.split('-') ?? ['1', String(countMax)];
  const from = Number(first);
  return [from, Math.min(Number(last ?? first), from + countMax - 1, Math.max(total, from))];
}

/** @throws AppError `tool.invalid_arguments` for a PDF that cannot be read, with the program's own words. */
async function runTool(sandbox: Sandbox, command: string, bytesMax: number, signal: AbortSignal): Promise<string> {
  const result = await sandbox.exec({
    // What it says of its own stands behind the text only when it failed; warnings are no text of the document.
    command: `exec 3>&1; problem=$(${command} 2>&1 1>&3) || { printf '%s' "$problem"; exit 9; }`,
    timeoutMs: pdfMs,
    outputBytesMax: bytesMax,
    signal,
  });
  signal.throwIfAborted();
  if (result.ended !== 'exit') throw unreadable('it took too long or too much memory');
  if (result.exitCode !== 0) throw unreadable(result.output);
  return result.output;
}

function unreadable(reason: string): AppError {
  const why = plainOutput(reason).trim().split('\n').at(-1)?.slice(0, 200) ?? '';
  return new AppError('tool.invalid_arguments', `The PDF cannot be read${why === '' ? '' : `: ${why}`}.`, {
    mend: 'It may be damaged or need a password; qpdf or python may help.',
  });
}

function refuse(text: string): ToolResult {
  return { text, isError: true };
}
