import type { SandboxLimits } from '#core/agents/agent-profile.ts';

/** `core` has shell and files; `browser` is a container of its own, because Chromium there has no inner sandbox. */
export type SandboxKind = 'core' | 'browser';

/** Identifies one session's hands. */
export interface SandboxSpec {
  readonly sessionId: string;
  readonly agent: string;
  readonly limits: SandboxLimits;
  /** `core` unless told. */
  readonly kind?: SandboxKind;
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
}

export interface SandboxProcess {
  /** Resolves when the bytes are on their way; waits while the process does not read. */
  write(chunk: Uint8Array): Promise<void>;
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
  readonly exitCode: number | undefined;
  readonly runMs: number;
  /** Bytes it has written so far. */
  readonly outputBytes: number;
}

/** A session's container, ready to work. Paths are confined to `/workspace` inside the container. */
export interface Sandbox {
  exec(request: ExecRequest): Promise<ExecResult>;
  readFile(
    path: string,
    options: { readonly offset?: number; readonly bytesMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly text: string; readonly totalBytes: number }>;
  /** The bytes of a file as they are; fewer than `bytesMax` only at its end. */
  readBytes(
    path: string,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly bytes: Buffer; readonly totalBytes: number }>;
  writeFile(
    path: string,
    content: string | Uint8Array,
    options: { readonly append: boolean; readonly signal: AbortSignal },
  ): Promise<{ readonly bytes: number }>;
  listFiles(
    path: string,
    options: { readonly recursive: boolean; readonly entriesMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly entries: readonly FileEntry[]; readonly isTruncated: boolean }>;
  searchFiles(
    pattern: string,
    options: {
      readonly path?: string;
      readonly glob?: string;
      readonly matchesMax: number;
      readonly signal: AbortSignal;
    },
  ): Promise<{ readonly matches: readonly SearchMatch[]; readonly isTruncated: boolean }>;
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
export type PrepareSandboxFolder = (spec: SandboxSpec, directory: string) => Promise<void>;

/** Starts, adopts, pauses and removes sandboxes. One per worker process. */
export interface SandboxPort {
  /**
   * The session's sandbox, created, adopted or woken as needed.
   * @throws AppError `sandbox.unavailable` (no engine), `image.missing`, `sandbox.lost`; each with the mend.
   */
  open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox>;
  /** Whether sandboxes can work here, in one sentence and one mend; for `doctor` and tool errors. */
  check(): Promise<{
    readonly ok: boolean;
    readonly detail: string;
    readonly mend?: string;
    /** What is not there, when something is not. */
    readonly missing?: 'engine' | 'image';
  }>;
}
