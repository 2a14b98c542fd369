import type { Socket } from 'node:net';
import { AppError, toAppError } from '#core/kit/errors.ts';
import {
  encodeFrame,
  type FrameReader,
  replySchema,
  type ToolboxDone,
  type ToolboxReply,
  type ToolboxRequest,
} from './toolbox-protocol.ts';

export interface CallResult {
  readonly done: ToolboxDone;
  readonly body: Buffer;
}

export interface CallOptions {
  /** Bytes sent along: standard input or a file's content. */
  readonly body?: Uint8Array;
  /** Most bytes that may come back in all; a sender of more is not our toolbox. */
  readonly bytesMax: number;
  /** Output as it comes: what is kept, or a sample of what will not be. */
  readonly onOutput?: (chunk: Buffer, isKept: boolean) => void;
}

/** A request the toolbox refused, with the errno it named. */
export class ToolboxRefusal extends Error {
  readonly errno: string;

  constructor(errno: string) {
    super(`The toolbox answered ${errno}.`);
    this.name = 'ToolboxRefusal';
    this.errno = errno;
  }
}

interface Pending extends CallOptions {
  received: number;
  readonly resolve: (result: CallResult) => void;
  readonly reject: (err: unknown) => void;
}

/**
 * One live toolbox. The other end runs as the same user as the agent's code, so every byte is hostile: what does not
 * parse, answers nothing we asked, or exceeds its cap ends the connection and fails what was waiting.
 */
export class ToolboxConnection {
  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #pending = new Map<number, Pending>();
  readonly #closed = Promise.withResolvers<AppError>();
  #error: AppError | undefined;
  #nextId = 1;

  /** Takes over a socket whose hello was read; `reader` may hold bytes that came with it. */
  constructor(socket: Socket, reader: FrameReader) {
    this.#socket = socket;
    this.#reader = reader;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', (err) =>
      this.close(new AppError('sandbox.lost', 'The sandbox broke its connection.', { cause: err })),
    );
    socket.on('close', () => this.close(new AppError('sandbox.lost', 'The sandbox went away.')));
  }

  /** Resolves with the reason when the connection is over. */
  get closed(): Promise<AppError> {
    return this.#closed.promise;
  }

  get isOpen(): boolean {
    return this.#error === undefined;
  }

  /**
   * Sends a request.
   * @returns its id, for a cancel, and its result.
   * @throws (through the result) ToolboxRefusal, or AppError `sandbox.lost`, `sandbox.protocol`, `message.too_large`.
   */
  call(request: ToolboxRequest, options: CallOptions): { readonly id: number; readonly result: Promise<CallResult> } {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<CallResult>();
    if (this.#error === undefined) {
      try {
        const frame = encodeFrame({ id, ...request }, options.body);
        this.#pending.set(id, { ...options, received: 0, resolve, reject });
        this.#socket.write(frame);
      } catch (err) {
        reject(toAppError(err));
      }
    } else reject(this.#error);
    return { id, result: promise };
  }

  /** Asks for the end of a command; its own call then ends as cancelled. No answer of its own comes back. */
  cancel(target: number): void {
    if (this.#error !== undefined) return;
    this.#socket.write(
      encodeFrame({ id: this.#nextId++, op: 'cancel', target } satisfies ToolboxRequest & { id: number }),
    );
  }

  /** Ends the connection; every waiting call fails with `reason`. */
  close(reason: AppError): void {
    if (this.#error !== undefined) return;
    this.#error = reason;
    this.#socket.destroy();
    for (const waiting of this.#pending.values()) waiting.reject(reason);
    this.#pending.clear();
    this.#closed.resolve(reason);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (!this.isOpen) return;
        this.#accept(replySchema.parse(frame.header), frame.body);
      }
    } catch (err) {
      this.close(new AppError('sandbox.protocol', 'The sandbox sent nonsense and was closed.', { cause: err }));
    }
  }

  #accept(reply: ToolboxReply, body: Buffer): void {
    const waiting = this.#pending.get(reply.id);
    if (waiting === undefined)
      throw new AppError('sandbox.protocol', `The toolbox answered ${reply.id}, which nobody asked.`);
    if (reply.kind !== 'recent') waiting.received += body.length;
    if (waiting.received > waiting.bytesMax) {
      throw new AppError(
        'sandbox.protocol',
        `The toolbox sent more than the ${waiting.bytesMax} bytes it was allowed.`,
      );
    }
    if (reply.kind === 'output' || reply.kind === 'recent') {
      // A copy: the frame is a view into a larger buffer that would stay alive with it.
      waiting.onOutput?.(Buffer.from(body), reply.kind === 'output');
      return;
    }
    this.#pending.delete(reply.id);
    if (reply.kind === 'done') waiting.resolve({ done: reply, body: Buffer.from(body) });
    else waiting.reject(new ToolboxRefusal(reply.error));
  }
}
