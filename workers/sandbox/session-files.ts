import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { AskOptions, AskToolbox } from './ask-toolbox.ts';
import { refusedFile } from './refusals.ts';
import type { CommandRequest, CommandResult } from './run-command.ts';
import type { FileEntry, Sandbox, SearchMatch } from './sandbox.ts';
import { type CallResult, ToolboxRefusal } from './toolbox-connection.ts';
import { argumentsMax, type ToolboxRequest } from './toolbox-protocol.ts';
import { wholeCharacters } from './whole-characters.ts';

/** Longest a search or the deletion of a directory may take. */
const searchMs = 60_000;
const deleteMs = 120_000;
/** Most bytes of search output looked at. */
const searchBytesMax = 2 << 20;
/** Bytes of a matching line shown. */
const columnsMax = 400;
/** Listings come in one frame. */
const listBytesMax = 1 << 20;
/** Largest body of one answer; longer files are read in parts. */
const readBytesMax = 4 << 20;
/** Body of one write; the toolbox takes frames of 16 MiB. */
const writeBytesMax = 8 << 20;
/** Largest file that a write can be made to depend on. */
const expectBytesMax = 4 << 20;
const workspace = '/workspace';

type Files = Pick<
  Sandbox,
  'readFile' | 'readBytes' | 'writeFile' | 'listFiles' | 'searchFiles' | 'moveFile' | 'deleteFile'
>;

/** The files of a session's workspace, through the toolbox. */
export function createSessionFiles(ask: AskToolbox, run: (request: CommandRequest) => Promise<CommandResult>): Files {
  const askFile = async (request: ToolboxRequest, file: string, options: AskOptions): Promise<CallResult> => {
    try {
      return await ask(request, options);
    } catch (err) {
      throw refusedFile(err, file);
    }
  };
  const write = createWrite(askFile);

  return {
    readFile: async (file, { offset = 0, bytesMax, signal }) => {
      const bytes = Math.trunc(Math.min(bytesMax, readBytesMax));
      const request = { op: 'read', path: file, offset, bytes } as const;
      const { done, body } = await askFile(request, file, { bytesMax: bytes, signal });
      const totalBytes = done.total ?? body.length;
      // A character that the cut left incomplete is held back instead of shown broken.
      const isCut = offset + body.length < totalBytes;
      const kept = (isCut ? wholeCharacters(body) : 0) || body.length;
      return { text: toWellFormed(body.toString('utf8', 0, kept)), totalBytes, nextOffset: offset + kept };
    },

    readBytes: async (file, { bytesMax, signal }) => {
      const parts: Buffer[] = [];
      let length = 0;
      let totalBytes = 0;
      do {
        const bytes = Math.min(bytesMax - length, readBytesMax);
        const request = { op: 'read', path: file, offset: length, bytes } as const;
        const { done, body } = await askFile(request, file, { bytesMax: bytes, signal });
        parts.push(body);
        length += body.length;
        totalBytes = done.total ?? length;
        // A file that shrinks while it is read ends where it ends.
        if (body.length === 0) break;
      } while (length < Math.min(bytesMax, totalBytes));
      return { bytes: Buffer.concat(parts), totalBytes };
    },

    writeFile: write,

    moveFile: async (from, to, { overwrite, signal }) => {
      try {
        await ask({ op: 'move', path: from, to, overwrite }, { bytesMax: 0, signal });
      } catch (err) {
        throw refusedMove(err, from, to);
      }
    },

    deleteFile: async (file, { recursive, signal }) => {
      if (!recursive) {
        await askFile({ op: 'delete', path: file }, file, { bytesMax: 0, signal });
        return;
      }
      const whole = path.posix.resolve(workspace, file);
      if (whole === workspace) throw new AppError('tool.invalid_arguments', 'The workspace itself cannot be deleted.');
      // A program of its own: a large tree takes its time, and the toolbox has others to serve.
      const result = await run({
        argv: ['rm', '-r', '--interactive=never', '--', path.posix.basename(whole)],
        workingDirectory: path.posix.dirname(whole),
        timeoutMs: deleteMs,
        outputBytesMax: 2000,
        signal,
      });
      signal.throwIfAborted();
      if (result.exitCode === 0) return;
      const why = result.ended === 'timeout' ? 'it took too long' : toWellFormed(result.output.trim().slice(0, 300));
      throw new AppError('tool.invalid_arguments', `${file} could not be deleted: ${why}`);
    },

    listFiles: async (file, { recursive, entriesMax, signal }) => {
      const request = { op: 'list', path: file, recursive, entries: entriesMax } as const;
      const { done, body } = await askFile(request, file, { bytesMax: listBytesMax, signal });
      const entries = parseEntries(body).sort((a, b) => (a.path < b.path ? -1 : 1));
      return { entries: entries.slice(0, entriesMax), isTruncated: done.truncated === true };
    },

    searchFiles: async (pattern, { path: file = '.', glob, contextLines = 0, matchesMax, signal }) => {
      if (file.includes('\n')) {
        throw new AppError('tool.invalid_arguments', 'A path with a line break in it cannot be searched.');
      }
      const enough = new AbortController();
      let lines = 0;
      const result = await run({
        argv: searchArguments(pattern, glob, contextLines),
        operand: file,
        timeoutMs: searchMs,
        outputBytesMax: searchBytesMax,
        signal: AbortSignal.any([signal, enough.signal]),
        onOutput: (chunk) => {
          lines += chunk.split('\n').length - 1;
          if (lines > matchesMax) enough.abort();
        },
      });
      signal.throwIfAborted();
      // ripgrep: 0 found, 1 nothing found, 2 an error. Unreadable files are one too, but print nothing here.
      const matches = parseMatches(result.head);
      if (result.exitCode === 2 && matches.length === 0 && result.output !== '') {
        throw new AppError('tool.invalid_arguments', `The search failed: ${result.output.slice(0, 300).trim()}`);
      }
      const isCut = result.ended !== 'exit' || result.droppedBytes > 0;
      return { matches: matches.slice(0, matchesMax), isTruncated: isCut || matches.length > matchesMax };
    },
  };
}

type AskFile = (request: ToolboxRequest, file: string, options: AskOptions) => Promise<CallResult>;

function createWrite(askFile: AskFile): Sandbox['writeFile'] {
  return async (file, content, { append, ifUnchanged, signal }) => {
    const isText = typeof content === 'string';
    const bytes = isText ? Buffer.from(content.toWellFormed()) : Buffer.from(content);
    if (ifUnchanged !== undefined && ifUnchanged.length > expectBytesMax) {
      throw new AppError('message.too_large', `${file} has ${ifUnchanged.length} bytes; at most ${expectBytesMax}.`, {
        mend: 'Change so large a file with a command.',
      });
    }
    // One frame holds less than the largest attachment; a text that long is refused, so that it is written in parts.
    if (isText || append || bytes.length <= writeBytesMax) {
      const { done } = await askFile(
        { op: 'write', path: file, append, ...(ifUnchanged === undefined ? {} : { expect: ifUnchanged.length }) },
        file,
        {
          body: ifUnchanged === undefined ? bytes : Buffer.concat([ifUnchanged, bytes]),
          bytesMax: 0,
          signal,
        },
      );
      return { bytes: done.bytes ?? 0 };
    }
    const staged = `.switchyard-${randomBytes(6).toString('hex')}.part`;
    try {
      for (let written = 0; written < bytes.length; written += writeBytesMax) {
        const body = bytes.subarray(written, written + writeBytesMax);
        await askFile({ op: 'write', path: staged, append: true }, file, { body, bytesMax: 0, signal });
      }
      await askFile({ op: 'write', path: file, append: false, from: staged }, file, {
        bytesMax: 0,
        signal,
        ...(ifUnchanged === undefined ? {} : { body: ifUnchanged }),
      });
      return { bytes: bytes.length };
    } catch (err) {
      // With a signal of its own: the reason may be that the other one was aborted.
      const cleanUp = { bytesMax: 0, signal: new AbortController().signal };
      await askFile({ op: 'delete', path: staged }, file, cleanUp).catch(() => undefined);
      throw err;
    }
  };
}

/** Why a move was refused: the same errno means another of the two paths than with one. */
function refusedMove(err: unknown, from: string, to: string): unknown {
  if (!(err instanceof ToolboxRefusal)) return err;
  switch (err.errno) {
    case 'EEXIST':
    case 'ENOTEMPTY':
    case 'EISDIR':
      return refusedFile(err, to);
    case 'EINVAL':
      return new AppError('tool.invalid_arguments', `${from} cannot be moved into itself.`, { cause: err });
    case 'EXDEV':
    case 'ELOOP':
      return new AppError('tool.invalid_arguments', `${from} or ${to} is outside the workspace.`, { cause: err });
    default:
      return refusedFile(err, from);
  }
}

const entryTypes: Readonly<Record<string, FileEntry['type']>> = { f: 'file', d: 'directory', l: 'symlink', o: 'other' };

/** `<type> <bytes> <path>` parted by NUL. What does not look like that is left out: the sender may be hostile. */
function parseEntries(body: Buffer): FileEntry[] {
  return body
    .toString('utf8')
    .split('\0')
    .flatMap((entry) => {
      const [, letter = '', bytes = '', path = ''] = /^(\w) (\d{1,15}) (.+)$/s.exec(entry) ?? [];
      const type = entryTypes[letter];
      return type === undefined ? [] : [{ path: path.toWellFormed(), type, bytes: Number(bytes) }];
    });
}

function searchArguments(pattern: string, glob: string | undefined, contextLines: number): string[] {
  const fixed = [
    'rg',
    '--line-number',
    '--no-heading',
    '--with-filename',
    '--null',
    '--color=never',
    '--no-config',
    '--no-messages',
  ];
  const columns = [`--max-columns=${columnsMax}`, '--max-columns-preview', '--max-filesize=8M', '--hidden'];
  // The last glob that matches decides, so that what is skipped stands behind what is wanted. A name with a line break
  // would read as the name of another file, which other rules may hold for. Worktrees hold the same files once more.
  const skipped = ['.git', 'node_modules', '.worktrees', '*\n*'].map((name) => `--glob=!${name}`);
  const globs = [...(glob === undefined ? [] : [`--glob=${glob}`]), ...skipped];
  const around = contextLines > 0 ? [`--context=${Math.trunc(contextLines)}`] : [];
  const all = [...fixed, ...columns, ...around, ...globs, `--regexp=${pattern}`, '--'];
  if (all.length >= argumentsMax) throw new AppError('tool.invalid_arguments', 'The search has too many arguments.');
  return all;
}

/** `path NUL line : text`, or `-` for a line around a match; anything else, such as ripgrep's own words, is left out. */
function parseMatches(output: string): SearchMatch[] {
  return output.split('\n').flatMap((line) => {
    const [, path = '', number = '', sign = '', text = ''] = /^(.+?)\0(\d{1,9})([:-])(.*)$/.exec(line) ?? [];
    if (path === '') return [];
    const match = { path: path.replace(/^\.\//, ''), line: Number(number), text: toWellFormed(text) };
    return [sign === '-' ? { ...match, isContext: true } : match];
  });
}
