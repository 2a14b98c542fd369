import type { Duplex } from 'node:stream';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { ReadBudget } from './read-budget.ts';
import {
  encodeFrame,
  type FrameReader,
  replySchema,
  smallBodyBytes,
  type ToolboxDone,
  type ToolboxReply,
  type ToolboxRequest,
} from './toolbox-protocol.ts';

/** Unsent bytes at which a toolbox counts as one that does not read: sixteen of the largest requests. */
const unsentBytesMax = 256 << 20;

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

/** What is said about one request. */
export interface Exchange {
  /** Longest body that may come for it now. */
  bytesMax(): number;
  /**
   * Takes a reply; `body` is good during the call only. True when it was the last.
   * @throws AppError `sandbox.protocol`: the connection is closed.
   */
  accept(reply: ToolboxReply, body: Buffer): boolean;
  /** The connection ended first. */
  lose(reason: AppError): void;
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

/**
 * One live toolbox. The other end runs as the same user as the agent's code, so every byte is hostile: what does not
 * parse, answers nothing we asked, or exceeds its cap ends the connection and fails what was waiting; what comes too
 * fast waits.
 */
export class ToolboxConnection {
  readonly #socket: Duplex;
  readonly #reader: FrameReader;
  readonly #exchanges = new Map<number, Exchange>();
  readonly #closed = Promise.withResolvers<AppError>();
  readonly #budget = new ReadBudget();
  #resumeTimer: NodeJS.Timeout | undefined;
  #error: AppError | undefined;
  #nextId = 1;

  /** Takes over a stream whose hello was read; `reader` may hold bytes that came with it. */
  constructor(socket: Duplex, reader: FrameReader) {
    this.#socket = socket;
    this.#reader = reader;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (err) =>
      this.close(new AppError('sandbox.lost', 'The sandbox broke its connection.', { cause: err })),
    );
    for (const over of ['end', 'close']) {
      socket.on(over, () => this.close(new AppError('sandbox.lost', 'The sandbox went away.')));
    }
  }

  /** Resolves with the reason when the connection is over. */
  get closed(): Promise<AppError> {
    return this.#closed.promise;
  }

  get isOpen(): boolean {
    return this.#error === undefined;
  }

  /**
   * Sends a request that has one result.
   * @returns its id, for a cancel, and its result.
   * @throws (through the result) ToolboxRefusal, or AppError `sandbox.lost`, `sandbox.protocol`, `message.too_large`.
   */
  call(request: ToolboxRequest, options: CallOptions): { readonly id: number; readonly result: Promise<CallResult> } {
    const { promise, resolve, reject } = Promise.withResolvers<CallResult>();
    let received = 0;
    const exchange: Exchange = {
      bytesMax: () => options.bytesMax - received,
      accept: (reply, body) => {
        if (reply.kind === 'recent') {
          if (body.length > smallBodyBytes) throw unasked(reply);
          options.onOutput?.(Buffer.from(body), false);
          return false;
        }
        received += body.length;
        if (received > options.bytesMax) {
          throw new AppError(
            'sandbox.protocol',
            `The toolbox sent more than the ${options.bytesMax} bytes it was allowed.`,
          );
        }
        switch (reply.kind) {
          case 'output':
            // A copy: the body is a view into a larger buffer that would stay alive with it.
            options.onOutput?.(Buffer.from(body), true);
            return false;
          case 'done':
            resolve({ done: reply, body: Buffer.from(body) });
            return true;
          case 'error':
            reject(new ToolboxRefusal(reply.error));
            return true;
          default:
            throw unasked(reply);
        }
      },
      lose: reject,
    };
    return { id: this.exchange(request, exchange, options.body), result: promise };
  }

  /** Sends a request whose replies go to `exchange`, and returns its id. What cannot be sent is lost at once. */
  exchange(request: ToolboxRequest, exchange: Exchange, body?: Uint8Array): number {
    const id = this.#nextId++;
    if (this.#error !== undefined) {
      exchange.lose(this.#error);
      return id;
    }
    try {
      const frame = encodeFrame({ id, ...request }, body);
      this.#exchanges.set(id, exchange);
      this.#write(frame);
    } catch (err) {
      exchange.lose(toAppError(err));
    }
    return id;
  }

  /** Sends a request that has no reply. */
  post(request: ToolboxRequest, body?: Uint8Array): void {
    if (this.#error === undefined) this.#write(encodeFrame({ id: this.#nextId++, ...request }, body));
  }

  /** Asks for the end of a request; its own exchange then ends as cancelled. */
  cancel(target: number): void {
    this.post({ op: 'cancel', target });
  }

  /** Ends the connection; everything that waits fails with `reason`. */
  close(reason: AppError): void {
    if (this.#error !== undefined) return;
    this.#error = reason;
    clearTimeout(this.#resumeTimer);
    this.#socket.destroy();
    const waiting = [...this.#exchanges.values()];
    this.#exchanges.clear();
    for (const exchange of waiting) exchange.lose(reason);
    this.#closed.resolve(reason);
  }

  #write(frame: readonly Uint8Array[]): void {
    for (const part of frame) this.#socket.write(part);
    if (this.#socket.writableLength > unsentBytesMax) {
      this.close(new AppError('sandbox.protocol', 'The sandbox took no requests and was closed.'));
    }
  }

  #receive(chunk: Buffer): void {
    let frames = 0;
    try {
      for (const frame of this.#reader.push(chunk, () => this.#bodyBytesMax())) {
        if (!this.isOpen) return;
        frames++;
        this.#accept(replySchema.parse(frame.header), frame.body);
      }
    } catch (err) {
      this.close(new AppError('sandbox.protocol', 'The sandbox sent nonsense and was closed.', { cause: err }));
    }
    const waitMs = this.#budget.spend(chunk.length, frames);
    if (waitMs === 0 || !this.isOpen) return;
    this.#socket.pause();
    this.#resumeTimer = setTimeout(() => this.#socket.resume(), waitMs);
  }

  #accept(reply: ToolboxReply, body: Buffer): void {
    const exchange = this.#exchanges.get(reply.id);
    if (exchange === undefined)
      throw new AppError('sandbox.protocol', `The toolbox answered ${reply.id}, which nobody asked.`);
    if (exchange.accept(reply, body)) this.#exchanges.delete(reply.id);
  }

  #bodyBytesMax(): number {
    let most = 0;
    for (const exchange of this.#exchanges.values()) most = Math.max(most, exchange.bytesMax());
    return most;
  }
}

/** The error for a reply of a kind that its request does not have. */
export function unasked(reply: ToolboxReply): AppError {
  return new AppError('sandbox.protocol', `The toolbox sent ${reply.kind} for ${reply.id}, which did not ask for it.`);
}
