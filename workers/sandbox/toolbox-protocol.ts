import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';

/**
 * The frames between worker and toolbox: u32 length of the rest, u32 length of the header, header (one flat JSON
 * object), body (bytes). `sandbox-image/toolbox` is the other side and has the same caps.
 */
export const protocolVersion = 2;

/** Longest header the toolbox may send; its own are below 512 bytes. */
const headerBytesMax = 1024;
/** Longest body a frame may always have. Only what was asked for may be longer. */
export const smallBodyBytes = 4096;
/** Bytes of a process's input or output that may be on their way, each way; the other side says when more may come. */
export const windowBytes = 256 << 10;
/** Longest frame the toolbox takes, and the longest header in it. */
const sentFrameBytesMax = 16 << 20;
const sentHeaderBytesMax = 2 << 20;
/** Most items of an argument list. */
export const argumentsMax = 63;

const idSchema = z.int().positive();

/** First frame of a connection. */
export const helloSchema = z.strictObject({ hello: z.literal('switchyard-toolbox'), version: z.int() });

/** What the toolbox says afterwards. Strict: an unknown field means that somebody else is talking. */
export const replySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('output'), id: idSchema }),
  z.strictObject({ kind: z.literal('recent'), id: idSchema }),
  z.strictObject({ kind: z.literal('started'), id: idSchema }),
  z.strictObject({ kind: z.literal('stdout'), id: idSchema }),
  z.strictObject({ kind: z.literal('stderr'), id: idSchema }),
  z.strictObject({ kind: z.literal('credit'), id: idSchema, bytes: z.int().min(1).max(windowBytes) }),
  z.strictObject({ kind: z.literal('error'), id: idSchema, error: z.string().regex(/^[A-Z0-9]{2,32}$/) }),
  z.strictObject({
    kind: z.literal('done'),
    id: idSchema,
    ended: z.enum(['exit', 'timeout', 'cancelled']).optional(),
    code: z.int().min(0).max(255).optional(),
    dropped: z.int().min(0).optional(),
    total: z.int().min(0).optional(),
    bytes: z.int().min(0).optional(),
    truncated: z.boolean().optional(),
    job: z.int().positive().optional(),
    state: z.enum(['running', 'ended']).optional(),
    offset: z.int().min(0).optional(),
    runMs: z.int().min(0).optional(),
  }),
]);

export type ToolboxReply = z.infer<typeof replySchema>;
export type ToolboxDone = Extract<ToolboxReply, { kind: 'done' }>;

/** One request of the worker; `id` is added by the connection. */
export type ToolboxRequest =
  | { readonly op: 'ping' }
  | { readonly op: 'killAll' }
  | { readonly op: 'cancel'; readonly target: number }
  | {
      readonly op: 'exec';
      readonly argv: readonly string[];
      readonly cwd: string;
      readonly timeoutMs: number;
      /** Output bytes kept: half as head, half as tail. */
      readonly keep: number;
      /** A path that is checked to lie in the workspace and becomes the last argument, relative to it. */
      readonly operand?: string;
    }
  | {
      readonly op: 'start';
      readonly argv: readonly string[];
      readonly cwd: string;
      /** `NAME=value`, added to the toolbox's own variables. */
      readonly env: readonly string[];
    }
  /** Input of a process; with `end` its last. */
  | { readonly op: 'feed'; readonly target: number; readonly end: boolean }
  /** So many bytes of a process's output were taken. */
  | { readonly op: 'credit'; readonly target: number; readonly bytes: number }
  | {
      readonly op: 'jobStart';
      readonly argv: readonly string[];
      readonly cwd: string;
      readonly timeoutMs: number;
      /** What lists show of it. */
      readonly label: string;
    }
  | {
      readonly op: 'jobRead';
      readonly job: number;
      readonly offset: number;
      readonly bytes: number;
      readonly waitMs: number;
    }
  | { readonly op: 'jobWrite'; readonly job: number; readonly end: boolean }
  | { readonly op: 'jobStop'; readonly job: number; readonly waitMs: number }
  | { readonly op: 'jobList' }
  | { readonly op: 'read'; readonly path: string; readonly offset: number; readonly bytes: number }
  | {
      readonly op: 'write';
      readonly path: string;
      readonly append: boolean;
      /** The body begins with so many bytes that the file must hold now; what follows is written. */
      readonly expect?: number;
      /** A file of the workspace that becomes the content, in place of a body. */
      readonly from?: string;
    }
  | { readonly op: 'move'; readonly path: string; readonly to: string; readonly overwrite: boolean }
  | { readonly op: 'delete'; readonly path: string }
  | { readonly op: 'list'; readonly path: string; readonly recursive: boolean; readonly entries: number };

export interface Frame {
  readonly header: unknown;
  readonly body: Buffer;
}

/**
 * A request as bytes: lengths and header, then the body as it is given, which is not copied.
 * @throws AppError `message.too_large` above the toolbox's caps, `tool.invalid_arguments` for a text with a NUL, which
 * no path and no command line can hold.
 */
export function encodeFrame(header: Readonly<Record<string, unknown>>, body?: Uint8Array): readonly Uint8Array[] {
  if (
    Object.values(header)
      .flat()
      .some((value) => typeof value === 'string' && value.includes('\0'))
  ) {
    throw new AppError('tool.invalid_arguments', 'A path or command may not contain a NUL character.');
  }
  const text = Buffer.from(JSON.stringify(header));
  const total = 4 + text.length + (body?.length ?? 0);
  if (total > sentFrameBytesMax || text.length > sentHeaderBytesMax) {
    throw new AppError(
      'message.too_large',
      `The request to the sandbox has ${total} bytes; it takes ${sentFrameBytesMax}.`,
      {
        mend: 'Write large files in parts.',
      },
    );
  }
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(total, 0);
  lengths.writeUInt32BE(text.length, 4);
  const head = Buffer.concat([lengths, text]);
  return body === undefined || body.length === 0 ? [head] : [head, body];
}

/**
 * Cuts a byte stream into frames. It holds at most one frame, gives up at the first length or header that cannot be
 * right (after that nothing in the stream has a meaning), and its memory grows with what has come, not with what was
 * announced.
 */
export class FrameReader {
  #held = Buffer.alloc(0);
  #length = 0;

  /**
   * Takes bytes and returns the frames they complete. Bodies are views that are good until the next push.
   * @param bodyBytesMax longest body that may come now; asked only for one above `smallBodyBytes`.
   * @throws AppError `sandbox.protocol`.
   */
  push(chunk: Buffer, bodyBytesMax: () => number): Frame[] {
    const frames: Frame[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#length === 0 && rest.length >= 8) {
        const whole = frameBytes(rest, bodyBytesMax);
        if (rest.length >= whole) {
          frames.push(toFrame(rest.subarray(0, whole)));
          rest = rest.subarray(whole);
          continue;
        }
      }
      const wanted = this.#length < 8 ? 8 : frameBytes(this.#held, bodyBytesMax);
      const taken = rest.subarray(0, wanted - this.#length);
      this.#hold(taken);
      rest = rest.subarray(taken.length);
      if (this.#length < wanted || this.#length < frameBytes(this.#held, bodyBytesMax)) continue;
      frames.push(toFrame(this.#held.subarray(0, this.#length)));
      this.#held = Buffer.alloc(0);
      this.#length = 0;
    }
    return frames;
  }

  /** Doubling: a peer that sends byte by byte costs no more than its bytes. */
  #hold(bytes: Buffer): void {
    const length = this.#length + bytes.length;
    if (length > this.#held.length) {
      const larger = Buffer.alloc(Math.max(64, length, this.#held.length * 2));
      this.#held.copy(larger, 0, 0, this.#length);
      this.#held = larger;
    }
    bytes.copy(this.#held, this.#length);
    this.#length = length;
  }
}

/** Length of the frame whose first eight bytes these are. */
function frameBytes(head: Buffer, bodyBytesMax: () => number): number {
  const total = head.readUInt32BE(0);
  const headerLength = head.readUInt32BE(4);
  const bodyLength = total - 4 - headerLength;
  const isTooLong = bodyLength > smallBodyBytes && bodyLength > bodyBytesMax();
  if (headerLength > headerBytesMax || bodyLength < 0 || isTooLong) {
    throw new AppError(
      'sandbox.protocol',
      `The toolbox announced a frame of ${total} bytes with a header of ${headerLength}.`,
    );
  }
  return 4 + total;
}

function toFrame(whole: Buffer): Frame {
  const headerLength = whole.readUInt32BE(4);
  return { header: parseHeader(whole.subarray(8, 8 + headerLength)), body: whole.subarray(8 + headerLength) };
}

function parseHeader(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (err) {
    throw new AppError('sandbox.protocol', 'The toolbox sent a header that is no JSON.', { cause: err });
  }
}
