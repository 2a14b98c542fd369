import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { Tool, ToolContext, ToolResult } from './tool.ts';
import { outputCharactersMax } from './tool-output.ts';

/** Lines shown unless told, and how much of one line is. */
const linesDefault = 1_000;
const linesMax = 5_000;
const lineCharsMax = 1_000;
/** Read at once while a line is looked for, and how far into a file it is looked for. */
const stepBytes = 4 << 20;
const scanBytesMax = 64 << 20;

const parameters = z.strictObject({
  path: z.string().min(1).max(4096).describe('The file, below /workspace.'),
  start_line: z.int().min(1).optional().describe('Show numbered lines from this one on.'),
  lines: z.int().min(1).max(linesMax).optional().describe(`How many, with start_line. Default: ${linesDefault}.`),
  offset: z.int().min(0).optional().describe('Without start_line: first byte. Default: 0.'),
  bytes: z.int().min(1).max(outputCharactersMax).optional().describe(`How many. Default: ${outputCharactersMax}.`),
});

type Arguments = z.infer<typeof parameters>;

/** Reads a text file of the workspace, in parts when it is long. */
export function readFileTool(): Tool<Arguments> {
  return {
    name: 'read_file',
    description:
      'Read a text file of the workspace: plain from a byte offset, or numbered lines from start_line. The last line ' +
      'says where to go on when there is more. In a large file use search_files first.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ path }) => ({ action: 'file.read', resource: path, risk: 'low', summary: `Read ${path}` }),
    run: async (args, context) =>
      args.start_line === undefined
        ? await readBytes(args, context)
        : await readLines(args.path, args.start_line, args.lines ?? linesDefault, context),
  };
}

async function readBytes(
  { path, offset = 0, bytes = outputCharactersMax }: Arguments,
  context: ToolContext,
): Promise<ToolResult> {
  const sandbox = await context.sandbox();
  const {
    text,
    totalBytes,
    nextOffset: next,
  } = await sandbox.readFile(path, {
    offset,
    bytesMax: bytes,
    signal: context.signal,
  });
  if (text === '' && totalBytes > 0 && offset >= totalBytes) {
    return { text: `${path} has only ${totalBytes} bytes; there is nothing at ${offset}.`, isError: true };
  }
  if (isMostlyBinary(text)) return notText(path, totalBytes);
  const more = next < totalBytes ? `\n\n[${next} of ${totalBytes} bytes read; go on with offset ${next}]` : '';
  return { text: text === '' ? '(the file is empty)' : text + more, isError: false };
}

async function readLines(path: string, startLine: number, lines: number, context: ToolContext): Promise<ToolResult> {
  const sandbox = await context.sandbox();
  const shown: string[] = [];
  let room = outputCharactersMax;
  let number = 0;
  for await (const line of linesOf(sandbox, path, context.signal)) {
    number += 1;
    if (number < startLine) continue;
    if (number === startLine && isMostlyBinary(line)) return notText(path);
    const row = `${number}\t${cut(line)}`;
    if (shown.length >= lines || row.length > room) {
      shown.push(`[there is more; go on with start_line ${number}]`);
      return { text: shown.join('\n'), isError: false };
    }
    shown.push(row);
    room -= row.length + 1;
  }
  if (shown.length > 0) return { text: shown.join('\n'), isError: false };
  if (number === 0) return { text: '(the file is empty)', isError: false };
  return { text: `${path} has only ${number} lines.`, isError: true };
}

/** The lines of a file without their ends. Holds one step of it and one line, of which the end is left out if it is long. */
async function* linesOf(sandbox: Sandbox, path: string, signal: AbortSignal): AsyncGenerator<string> {
  let rest = '';
  let offset = 0;
  for (;;) {
    const { text, totalBytes, nextOffset } = await sandbox.readFile(path, { offset, bytesMax: stepBytes, signal });
    const read = nextOffset - offset;
    offset = nextOffset;
    const parts = text.split('\n');
    // Of a line that is cut anyway, no more is kept than shows that it is.
    if (rest.length <= lineCharsMax) rest += parts[0] ?? '';
    parts[0] = rest;
    rest = parts.pop() ?? '';
    for (const part of parts) yield part.replace(/\r$/, '');
    if (read === 0 || offset >= totalBytes) break;
    if (offset >= scanBytesMax) {
      throw new AppError('tool.invalid_arguments', `Lines are looked for in the first ${scanBytesMax} bytes only.`, {
        mend: 'Use offset, search_files, or exec with sed.',
      });
    }
  }
  if (rest !== '') yield rest;
}

function cut(line: string): string {
  if (line.length <= lineCharsMax) return line;
  return `${line.slice(0, lineCharsMax).toWellFormed()} [… the rest of this long line is left out]`;
}

function notText(path: string, totalBytes?: number): ToolResult {
  const size = totalBytes === undefined ? '' : ` (${totalBytes} bytes)`;
  return {
    text: `${path} is not text${size}. Use view_image for a picture, read_pdf for a PDF, exec for the rest.`,
    isError: true,
  };
}

/** More than one character in ten that is no text. */
function isMostlyBinary(text: string): boolean {
  return (
    text.includes('\uFFFD') && text.replaceAll(/[^\uFFFD\u0001-\u0008\u000e-\u001a]/g, '').length * 10 > text.length
  );
}
