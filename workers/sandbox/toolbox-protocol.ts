import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';

/**
 * The frames between worker and toolbox: u32 length of the rest, u32 length of the header, header (one flat JSON
 * object), body (bytes). `sandbox-image/toolbox` is the other side and has the same caps.
 */
export const protocolVersion = 1;

/** Longest frame the toolbox may send: its largest body is 4 MiB, its headers are below 512 bytes. */
const frameBytesMax = (4 << 20) + 1024;
/** Longest header the toolbox may send. */
const headerBytesMax = 1024;
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
  | { readonly op: 'read'; readonly path: string; readonly offset: number; readonly bytes: number }
  | { readonly op: 'write'; readonly path: string; readonly append: boolean }
  | { readonly op: 'list'; readonly path: string; readonly recursive: boolean; readonly entries: number };

export interface Frame {
  readonly header: unknown;
  readonly body: Buffer;
}

/**
 * A request as bytes.
 * @throws AppError `message.too_large` above the toolbox's caps, `tool.invalid_arguments` for a text with a NUL, which
 * no path and no command line can hold.
 */
export function encodeFrame(header: Readonly<Record<string, unknown>>, body: Uint8Array = Buffer.alloc(0)): Buffer {
  if (
    Object.values(header)
      .flat()
      .some((value) => typeof value === 'string' && value.includes('\0'))
  ) {
    throw new AppError('tool.invalid_arguments', 'A path or command may not contain a NUL character.');
  }
  const text = Buffer.from(JSON.stringify(header));
  const total = 4 + text.length + body.length;
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
  return Buffer.concat([lengths, text, body]);
}

/**
 * Cuts a byte stream into frames. It holds at most one frame, and gives up at the first length or header that cannot be
 * right: after that nothing in the stream has a meaning.
 */
export class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;

  /**
   * Takes bytes and returns the frames they complete.
   * @throws AppError `sandbox.protocol`.
   */
  push(chunk: Buffer): Frame[] {
    // A peer that sends byte by byte must not cost an object per byte.
    if (this.#chunks.length >= 1024) this.#chunks = [Buffer.concat(this.#chunks)];
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    for (let frame = this.#take(); frame !== undefined; frame = this.#take()) frames.push(frame);
    return frames;
  }

  #take(): Frame | undefined {
    if (this.#length < 8) return undefined;
    const head = this.#peek(8);
    const total = head.readUInt32BE(0);
    const headerLength = head.readUInt32BE(4);
    if (total > frameBytesMax || headerLength > headerBytesMax || headerLength + 4 > total) {
      throw new AppError(
        'sandbox.protocol',
        `The toolbox announced a frame of ${total} bytes with a header of ${headerLength}.`,
      );
    }
    if (this.#length < 4 + total) return undefined;
    const whole = this.#peek(4 + total);
    const rest = this.#chunks[0]?.subarray(4 + total);
    this.#chunks = rest === undefined || rest.length === 0 ? [] : [rest];
    this.#length -= 4 + total;
    return {
      header: parseHeader(whole.subarray(8, 8 + headerLength)),
      body: whole.subarray(8 + headerLength, 4 + total),
    };
  }

  /** The first `length` bytes; joins chunks only when a frame lies across them. */
  #peek(length: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}

function parseHeader(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (err) {
    throw new AppError('sandbox.protocol', 'The toolbox sent a header that is no JSON.', { cause: err });
  }
}
