import type { SandboxLimits } from '#core/agents/agent-profile.ts';
import type { EgressRule } from '#core/egress/egress-rule.ts';

/** `core` has shell and files; `browser` is a container of its own, because Chromium there has no inner sandbox. */
export type SandboxKind = 'core' | 'browser';

/** Identifies one session's hands. */
export interface SandboxSpec {
  readonly sessionId: string;
  readonly agent: string;
  readonly limits: SandboxLimits;
  /** `core` unless told. */
  readonly kind?: SandboxKind;
  /** What its gateway lets out; nothing unless told. */
  readonly egress?: readonly EgressRule[];
  /** The turn that uses it now, for the record of what it reaches. */
  readonly turnId?: string;
}

export interface ExecRequest {
  /** A shell command line, run by `bash -c`. */
  readonly command: string;
  /** Below `/workspace`; relative paths are taken from there. */
  readonly workingDirectory?: string;
  readonly stdin?: string;
  readonly timeoutMs: number;
  /** Bytes kept of stdout and stderr together; head and tail are kept, the middle is dropped and counted. */
  readonly outputBytesMax: number;
  readonly signal: AbortSignal;
  /** Called with output as it arrives, for progress in the thread. */
  readonly onOutput?: (chunk: string) => void;
}

export interface ExecResult {
  readonly exitCode: number | undefined;
  /** How it ended: by itself, by our timeout, by a cancel, or by the kernel for memory. */
  readonly ended: 'exit' | 'timeout' | 'cancelled' | 'oom';
  readonly output: string;
  /** Bytes that were dropped from the middle of the output. */
  readonly droppedBytes: number;
  readonly durationMs: number;
  /** Limits its container came near to meanwhile, such as `memory 480 of 512 MB`. */
  readonly nearLimits?: string;
}

export interface FileEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly bytes: number;
}

export interface SearchMatch {
  readonly path: string;
  readonly line: number;
  readonly text: string;
  /** A line around a match, shown with it. */
  readonly isContext?: boolean;
}

/** A program the worker talks to over pipes: an MCP server, the browser's driver. */
export interface ProcessRequest {
  readonly argv: readonly string[];
  /** Below `/workspace`. */
  readonly workingDirectory?: string;
  /** Added to the container's own variables. Never secrets. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Bytes as they come. While the returned promise is open, no more is read from the process. */
  readonly onStdout: (chunk: Buffer) => Promise<void> | void;
  /** Diagnostics, capped. */
  readonly onStderr?: (chunk: Buffer) => void;
  /** Ends the process and everything it started. */
  readonly signal: AbortSignal;
  /**
   * Lets the container be frozen and removed while nothing goes on in it. A write wakes it; whoever waits for an answer
   * holds it. Otherwise the process keeps its container awake as long as it lives.
   */
  readonly mayRest?: boolean;
}

export interface SandboxProcess {
  /**
   * Resolves when the bytes are on their way; waits while the process does not read.
   * @throws AppError `sandbox.lost` when the process has ended.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Keeps the container awake until disposed; for processes that may rest. */
  hold(): Disposable;
  /** Closes its standard input. */
  end(): void;
  /** Ends it and everything it started. */
  kill(): void;
  /** Never rejects; `undefined` when it was killed or the sandbox was lost. */
  readonly exited: Promise<number | undefined>;
}

/** A command that goes on after the call that began it. Its sandbox is not put to rest while it runs. */
export interface JobStatus {
  /** Short, such as `j3`; unique within the session's container. */
  readonly id: string;
  readonly command: string;
  readonly state: 'running' | 'ended';
  /** How it ended, once it has. */
  readonly ended: 'exit' | 'timeout' | 'cancelled' | undefined;
  readonly exitCode: number | undefined;
  readonly runMs: number;
  /** Bytes it has written so far. */
  readonly outputBytes: number;
}

export interface JobRequest {
  /** A shell command line, run by `bash -c`. Its standard input stays open for `writeJob`. */
  readonly command: string;
  /** Below `/workspace`. */
  readonly workingDirectory?: string;
  readonly timeoutMs: number;
  /** Ends the beginning only; a job that runs is ended by `stopJob`. */
  readonly signal: AbortSignal;
}

export interface JobOutput {
  readonly status: JobStatus;
  readonly text: string;
  /** Where `text` begins: later than asked for when the container has dropped what came before. */
  readonly offset: number;
  /** Where to go on reading. */
  readonly nextOffset: number;
  /** Limits its container came near to while it was read. */
  readonly nearLimits?: string;
}

/** A session's container, ready to work. Paths are confined to `/workspace` inside the container. */
export interface Sandbox {
  exec(request: ExecRequest): Promise<ExecResult>;
  readFile(
    path: string,
    options: { readonly offset?: number; readonly bytesMax: number; readonly signal: AbortSignal },
  ): Promise<{
    /** Never breaks a character; what is no UTF-8 is replaced, NUL left out. */
    readonly text: string;
    readonly totalBytes: number;
    /** Where to go on: not the length of `text`, which may stand for fewer or more bytes. */
    readonly nextOffset: number;
  }>;
  /** The bytes of a file as they are; fewer than `bytesMax` only at its end. */
  readBytes(
    path: string,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly bytes: Buffer; readonly totalBytes: number }>;
  /**
   * Replaces the file in one step, its mode kept, or appends to it. With `ifUnchanged` (4 MiB at most) only while the
   * file holds exactly these bytes.
   * @throws AppError `tool.invalid_arguments` (`details.errno` is `ESTALE` when it holds others), `sandbox.disk_full`.
   */
  writeFile(
    path: string,
    content: string | Uint8Array,
    options: { readonly append: boolean; readonly ifUnchanged?: Uint8Array; readonly signal: AbortSignal },
  ): Promise<{ readonly bytes: number }>;
  /**
   * Moves or renames a file or directory; links are moved, not followed. Missing directories of `to` are made.
   * @throws AppError `tool.invalid_arguments`, also when `to` exists and `overwrite` is false.
   */
  moveFile(
    from: string,
    to: string,
    options: { readonly overwrite: boolean; readonly signal: AbortSignal },
  ): Promise<void>;
  /**
   * Deletes a file, a link or a directory, which must be empty unless `recursive`. Links are not followed.
   * @throws AppError `tool.invalid_arguments`.
   */
  deleteFile(path: string, options: { readonly recursive: boolean; readonly signal: AbortSignal }): Promise<void>;
  listFiles(
    path: string,
    options: { readonly recursive: boolean; readonly entriesMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly entries: readonly FileEntry[]; readonly isTruncated: boolean }>;
  searchFiles(
    pattern: string,
    options: {
      readonly path?: string;
      readonly glob?: string;
      /** Lines shown before and after each match; they count as matches do. */
      readonly contextLines?: number;
      readonly matchesMax: number;
      readonly signal: AbortSignal;
    },
  ): Promise<{ readonly matches: readonly SearchMatch[]; readonly isTruncated: boolean }>;
  /**
   * Starts a program to talk to. It ends with its worker, at the latest. A program that cannot be run exits with 127.
   * @throws AppError `tool.invalid_arguments`, `sandbox.lost`.
   */
  start(request: ProcessRequest): Promise<SandboxProcess>;
  /**
   * Starts a command that outlives the call, the turn and the worker. What it leaves running ends with it. At most
   * eight run at once.
   * @throws AppError `tool.invalid_arguments`.
   */
  startJob(request: JobRequest): Promise<{ readonly id: string }>;
  /**
   * What a job has written from `offset` on. Waits up to `waitMs` for something new and then for a short silence, or
   * for the job's end.
   * @throws AppError `tool.invalid_arguments` when there is no such job.
   */
  readJob(
    id: string,
    options: {
      readonly offset: number;
      readonly bytesMax: number;
      readonly waitMs: number;
      readonly signal: AbortSignal;
    },
  ): Promise<JobOutput>;
  /**
   * Gives a job input, and with `end` closes it.
   * @throws AppError `tool.invalid_arguments` when it does not run, or has not read what came before.
   */
  writeJob(id: string, text: string, options: { readonly end?: boolean; readonly signal: AbortSignal }): Promise<void>;
  /** Ends a job and everything it started. @throws AppError `tool.invalid_arguments`. */
  stopJob(id: string, signal: AbortSignal): Promise<JobStatus>;
  /** The jobs that run and the last eight that ended, oldest first. */
  listJobs(signal: AbortSignal): Promise<readonly JobStatus[]>;
}

/** The way out of one sandbox; see `workers/egress`. */
export interface SandboxGateway extends AsyncDisposable {
  /** The agent's rules may have changed since the container was made. */
  update(spec: SandboxSpec): void;
}

/** Opens the gateway of a sandbox behind a socket in its read-only folder, before the container starts. */
export type OpenGateway = (spec: SandboxSpec, socketPath: string) => Promise<SandboxGateway>;

/**
 * Puts read-only files into a sandbox: what is written into `directory` stands at `/run/host` inside. Called at each
 * opening of a session's container, before the container starts and again when it is adopted.
 */
export type PrepareSandboxFolder = (
  spec: SandboxSpec,
  directory: string,
  /** A host that shares no files with the worker starts no sandbox whose folder holds any. */
  host?: { readonly sharesFiles: boolean },
) => Promise<void>;

/** Starts, adopts, pauses and removes sandboxes. One per worker process. */
export interface SandboxPort {
  /**
   * The session's sandbox, created, adopted or woken as needed.
   * @throws AppError `sandbox.unavailable` (no engine), `image.missing`, `sandbox.lost`; each with the mend.
   */
  open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox>;
  /** Whether sandboxes can work here, in one sentence and one mend; for `doctor` and tool errors. */
  check(kind?: SandboxKind): Promise<{
    readonly ok: boolean;
    readonly detail: string;
    readonly mend?: string;
    /** What is not there, when something is not. */
    readonly missing?: 'engine' | 'image';
  }>;
}
