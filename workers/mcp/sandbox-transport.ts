import { type JSONRPCMessage, ReadBuffer, serializeMessage, type Transport } from '@modelcontextprotocol/client';
import type { Sandbox, SandboxProcess } from '../sandbox/sandbox.ts';

/** Longest message of a server. A picture of a few megabytes fits; a line without an end does not. */
const messageBytesMax = 5 * 1024 * 1024;
/** Bytes without one message in them: a server that prints for ever. */
const noiseBytesMax = 16 * 1024 * 1024;
/** What is kept of a server's diagnostics, the newest. */
const stderrCharsMax = 4_000;

/** The pipes of a server that runs in a session's sandbox. Every byte of it is hostile, as the agent's own code is. */
export class SandboxTransport implements Transport {
  // The client tells a pipe from a web connection by these two: on a pipe, silence means an old server.
  readonly pid = null;
  readonly stderr = null;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #sandbox: Sandbox;
  readonly #command: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #buffer = new ReadBuffer({ maxBufferSize: messageBytesMax });
  readonly #end = new AbortController();
  #process: SandboxProcess | undefined;
  #noise = 0;
  #diagnostics = '';
  #isClosed = false;

  constructor(
    sandbox: Sandbox,
    server: { readonly command: readonly string[]; readonly environment: Readonly<Record<string, string>> },
  ) {
    this.#sandbox = sandbox;
    this.#command = server.command;
    this.#environment = server.environment;
  }

  /** The end of what the server wrote to its standard error; a stranger's words. */
  get diagnostics(): string {
    return this.#diagnostics;
  }

  async start(): Promise<void> {
    const process = await this.#sandbox.start({
      argv: this.#command,
      environment: this.#environment,
      onStdout: (chunk) => this.#take(chunk),
      onStderr: (chunk) => {
        this.#diagnostics = (this.#diagnostics + chunk.toString('utf8')).slice(-stderrCharsMax);
      },
      signal: this.#end.signal,
      mayRest: true,
    });
    this.#process = process;
    void process.exited.then(() => this.#ended());
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#process === undefined || this.#isClosed) throw new Error('the server has ended');
    await this.#process.write(Buffer.from(serializeMessage(message)));
  }

  /** Keeps the container awake while an answer is waited for. */
  hold(): Disposable {
    return this.#process?.hold() ?? { [Symbol.dispose]: () => undefined };
  }

  async close(): Promise<void> {
    this.#end.abort();
    this.#process?.kill();
    this.#ended();
    return await Promise.resolve();
  }

  #take(chunk: Buffer): void {
    if (this.#isClosed) return;
    try {
      this.#noise += chunk.length;
      this.#buffer.append(chunk);
      for (let message = this.#next(); message !== null && !this.#isClosed; message = this.#next()) {
        this.#noise = 0;
        this.onmessage?.(message);
      }
      if (this.#noise > noiseBytesMax) throw new Error(`the server wrote ${this.#noise} bytes without one message`);
    } catch (err) {
      this.onerror?.(err instanceof Error ? err : new Error(String(err)));
      void this.close();
    }
  }

  /** The next whole message; lines that are none are passed over. */
  #next(): JSONRPCMessage | null {
    for (;;) {
      try {
        return this.#buffer.readMessage();
      } catch {
        // JSON, but no message of the protocol. The line is gone from the buffer; the limit on noise ends this.
      }
    }
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#buffer.clear();
    this.onclose?.();
  }
}
