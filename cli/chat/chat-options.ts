/** Where a chat reads keys or text from; `process.stdin` fits. */
export interface ChatInput extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
}

/** Where a chat writes; `process.stdout` and `process.stderr` fit. */
export interface ChatOutput extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

export interface ChatOptions {
  /** The gateway, for example http://127.0.0.1:8420. */
  readonly baseUrl: string;
  /** The operator token. */
  readonly token: string;
  readonly room: string;
  readonly thread?: string | undefined;
  /** The operating system's user name. */
  readonly user: string;
  /** Asks this agent instead of the conversation's own. */
  readonly agent?: string | undefined;
  /** Says only this and ends with the answer. */
  readonly message?: string | undefined;
  /** Prints events as JSON lines; only without a terminal dialogue. */
  readonly isJson?: boolean;
  /** What to answer to approvals when nobody sits there. */
  readonly answer?: 'approve' | 'deny' | undefined;
  /** Keeps what was typed, between chats. */
  readonly historyFile?: string | undefined;
  readonly stdin: ChatInput;
  readonly stdout: ChatOutput;
  readonly stderr: ChatOutput;
  readonly signal: AbortSignal;
}

/** How a chat ends. */
export const chatExit = { done: 0, failed: 1, approvalNeeded: 3, interrupted: 130 } as const;
