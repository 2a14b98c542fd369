import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import {
  deserializeMessage,
  type JSONRPCMessage,
  serializeMessage,
  type Transport,
} from '@modelcontextprotocol/client';
import type { Sandbox, SandboxProcess } from '../sandbox/sandbox.ts';

/** Longest message of a server. A picture of a few megabytes fits; a line without an end does not. */
const messageBytesMax = 5 * 1024 * 1024;
/** Bytes without one message in them: a server that prints for ever. */
const noiseBytesMax = 16 * 1024 * 1024;
/** Messages and bytes of one server in a second; a faster one waits, so that it cannot keep the worker busy. */
const messagesPerSecond = 200;
const bytesPerSecond = 20 * 1024 * 1024;
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
  /** The beginning of a line whose end has not come yet. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #pace = { since: 0, messages: 0, bytes: 0 };
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
      onStdout: async (chunk) => await this.#take(chunk),
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

  /** Resolves when the next piece may come. */
  async #take(chunk: Buffer): Promise<void> {
    try {
      let from = 0;
      for (let end = chunk.indexOf(10); end !== -1 && !this.#isClosed; end = chunk.indexOf(10, from)) {
        this.#keep(chunk.subarray(from, end));
        from = end + 1;
        await this.#hand(Buffer.concat(this.#pieces).toString('utf8'));
        this.#pieces = [];
        this.#pieceBytes = 0;
      }
      this.#keep(chunk.subarray(from));
      await this.#slowDown(0, chunk.length);
    } catch (err) {
      this.onerror?.(err instanceof Error ? err : new Error(String(err)));
      await this.close();
    }
  }

  /** @throws for a line that is too long, or too much without one message. */
  #keep(piece: Buffer): void {
    this.#pieceBytes += piece.length;
    this.#noise += piece.length;
    if (this.#pieceBytes > messageBytesMax) throw new Error(`a message of more than ${messageBytesMax} bytes`);
    if (this.#noise > noiseBytesMax) throw new Error(`${noiseBytesMax} bytes without one message`);
    this.#pieces.push(piece);
  }

  /** Lines that are no messages of the protocol are passed over; the limit on noise ends them. */
  async #hand(line: string): Promise<void> {
    let message: JSONRPCMessage;
    try {
      message = deserializeMessage(line);
    } catch {
      return;
    }
    this.#noise = 0;
    this.onmessage?.(message);
    await this.#slowDown(1, 0);
  }

  async #slowDown(messages: number, bytes: number): Promise<void> {
    const now = performance.now();
    if (now - this.#pace.since > 1_000) this.#pace = { since: now, messages: 0, bytes: 0 };
    this.#pace.messages += messages;
    this.#pace.bytes += bytes;
    if (this.#pace.messages > messagesPerSecond || this.#pace.bytes > bytesPerSecond) {
      await delay(1_000 - (now - this.#pace.since), undefined, { signal: this.#end.signal }).catch(() => undefined);
      return;
    }
    await nextTurn();
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pieces = [];
    this.onclose?.();
  }
}
