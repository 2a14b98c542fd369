import { AppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { ContainerPlan } from './container-spec.ts';
import type { LiveContainer } from './live-container.ts';
import { type CommandRequest, runCommand } from './run-command.ts';
import type { ExecRequest, FileEntry, Sandbox, SearchMatch } from './sandbox.ts';
import type { SessionContainer } from './session-container.ts';
import { type CallOptions, type CallResult, ToolboxRefusal } from './toolbox-connection.ts';
import { argumentsMax, type ToolboxRequest } from './toolbox-protocol.ts';

/** Longest a file operation may take; they are single system calls on local disk. */
const fileMs = 30_000;
/** Longest a search may take. */
const searchMs = 60_000;
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
/** Most bytes of output one command may keep, the toolbox's cap. */
const outputBytesMax = 4 << 20;

export interface SessionSandboxDeps {
  readonly hands: () => SessionContainer;
  readonly plan: () => Promise<ContainerPlan>;
  readonly endMs: number;
}

/** The `Sandbox` of one session. It outlives containers: a call after a loss gets a new one with the same workspace. */
export function createSessionSandbox(deps: SessionSandboxDeps): Sandbox {
  const ask = (
    request: ToolboxRequest,
    options: CallOptions & { readonly signal: AbortSignal; readonly path: string },
  ) => {
    const hands = deps.hands();
    return hands.use(deps.plan, options.signal, (live) => askToolbox(hands, live, request, options));
  };
  const run = (request: CommandRequest) => {
    const hands = deps.hands();
    return hands.use(deps.plan, request.signal, (live) => runWithRoom(hands, live, request, deps.endMs));
  };

  return {
    exec: async (request: ExecRequest) => {
      const { command, ...rest } = request;
      const { head: _, ...result } = await run({
        ...rest,
        outputBytesMax: Math.max(2, Math.min(request.outputBytesMax, outputBytesMax)),
        argv: ['bash', '-c', command],
      });
      return result;
    },

    readFile: async (path, { offset = 0, bytesMax, signal }) => {
      const bytes = Math.trunc(Math.min(bytesMax, readBytesMax));
      const { done, body } = await ask({ op: 'read', path, offset, bytes }, { bytesMax: bytes, signal, path });
      const totalBytes = done.total ?? body.length;
      // Streaming mode holds a character that the cut left incomplete back instead of showing it broken.
      const isCut = offset + body.length < totalBytes;
      return { text: toWellFormed(new TextDecoder().decode(body, { stream: isCut })), totalBytes };
    },

    readBytes: async (path, { bytesMax, signal }) => {
      const parts: Buffer[] = [];
      let length = 0;
      let totalBytes = 0;
      do {
        const bytes = Math.min(bytesMax - length, readBytesMax);
        const { done, body } = await ask(
          { op: 'read', path, offset: length, bytes },
          { bytesMax: bytes, signal, path },
        );
        parts.push(body);
        length += body.length;
        totalBytes = done.total ?? length;
        // A file that shrinks while it is read ends where it ends.
        if (body.length === 0) break;
      } while (length < Math.min(bytesMax, totalBytes));
      return { bytes: Buffer.concat(parts), totalBytes };
    },

    writeFile: async (path, content, { append, signal }) => {
      const bytes = typeof content === 'string' ? Buffer.from(content.toWellFormed()) : Buffer.from(content);
      // One frame holds less than the largest attachment; a text that long is refused, so that it is written in parts.
      const stepBytes = typeof content === 'string' ? bytes.length : writeBytesMax;
      let written = 0;
      do {
        const body = bytes.subarray(written, written + stepBytes);
        const request = { op: 'write', path, append: append || written > 0 } as const;
        const { done } = await ask(request, { body, bytesMax: 0, signal, path });
        written += body.length;
        if ((done.bytes ?? 0) !== body.length) break;
      } while (written < bytes.length);
      return { bytes: written };
    },

    listFiles: async (path, { recursive, entriesMax, signal }) => {
      const request = { op: 'list', path, recursive, entries: entriesMax } as const;
      const { done, body } = await ask(request, { bytesMax: listBytesMax, signal, path });
      const entries = parseEntries(body).sort((a, b) => (a.path < b.path ? -1 : 1));
      return { entries: entries.slice(0, entriesMax), isTruncated: done.truncated === true };
    },

    searchFiles: async (pattern, { path = '.', glob, matchesMax, signal }) => {
      const enough = new AbortController();
      let lines = 0;
      const result = await run({
        argv: searchArguments(pattern, glob),
        operand: path,
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

/** Runs a command; when the process limit leaves no room for it, ends what is left in the background and tries again. */
async function runWithRoom(hands: SessionContainer, live: LiveContainer, request: CommandRequest, endMs: number) {
  try {
    return await runCommand(hands, live, request, endMs);
  } catch (err) {
    if (!(err instanceof ToolboxRefusal)) throw err;
    if (err.errno === 'EAGAIN') {
      await live.connection.call({ op: 'killAll' }, { bytesMax: 0 }).result;
      try {
        return await runCommand(hands, live, request, endMs);
      } catch (again) {
        if (!(again instanceof ToolboxRefusal)) throw again;
      }
    }
    throw new AppError('sandbox.protocol', `The sandbox could not start the command (${err.errno}).`, { cause: err });
  }
}

async function askToolbox(
  hands: SessionContainer,
  live: LiveContainer,
  request: ToolboxRequest,
  options: CallOptions & { readonly signal: AbortSignal; readonly path: string },
): Promise<CallResult> {
  const late = Promise.withResolvers<never>();
  const onAbort = () => late.reject(options.signal.reason);
  const timer = setTimeout(() => {
    const reason = new AppError('sandbox.timeout', `The sandbox did not answer within ${fileMs} ms and was replaced.`);
    void hands.discard(live, reason).finally(() => late.reject(reason));
  }, fileMs);
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([live.connection.call(request, options).result, late.promise]);
  } catch (err) {
    throw err instanceof ToolboxRefusal ? refusedFile(err, options.path) : err;
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', onAbort);
  }
}

function refusedFile(refusal: ToolboxRefusal, path: string): AppError {
  const invalid = (message: string) => new AppError('tool.invalid_arguments', message, { cause: refusal });
  switch (refusal.errno) {
    case 'ENOENT':
      return invalid(`There is no ${path} in the workspace.`);
    case 'EISDIR':
      return invalid(`${path} is a directory.`);
    case 'ENOTDIR':
      return invalid(`${path} is not a directory.`);
    case 'EXDEV':
    case 'ELOOP':
      return invalid(`${path} is outside the workspace or a link that leads out of it.`);
    case 'EACCES':
    case 'EPERM':
      return invalid(`${path} may not be accessed.`);
    case 'EINVAL':
      return invalid(`${path} is not a plain file.`);
    case 'ENAMETOOLONG':
      return invalid('The path is too long.');
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new AppError('sandbox.disk_full', `There is no room to write ${path}.`, {
        mend: 'Delete files that are no longer needed.',
        cause: refusal,
      });
    default:
      return new AppError('sandbox.protocol', `The sandbox could not access ${path} (${refusal.errno}).`, {
        cause: refusal,
      });
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

function searchArguments(pattern: string, glob: string | undefined): string[] {
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
  const skipped = ['--glob=!.git', '--glob=!node_modules', ...(glob === undefined ? [] : [`--glob=${glob}`])];
  const all = [...fixed, ...columns, ...skipped, `--regexp=${pattern}`, '--'];
  if (all.length >= argumentsMax) throw new AppError('tool.invalid_arguments', 'The search has too many arguments.');
  return all;
}

/** `path NUL line : text`; anything else, such as ripgrep's own messages, is left out. */
function parseMatches(output: string): SearchMatch[] {
  return output.split('\n').flatMap((line) => {
    const [, path = '', number = '', text = ''] = /^(.+?)\0(\d{1,9}):(.*)$/.exec(line) ?? [];
    return path === '' ? [] : [{ path: path.replace(/^\.\//, ''), line: Number(number), text: toWellFormed(text) }];
  });
}
