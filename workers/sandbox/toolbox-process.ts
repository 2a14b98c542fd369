import { AppError } from '#core/kit/errors.ts';
import type { ProcessRequest } from './sandbox.ts';
import { type Exchange, type ToolboxConnection, ToolboxRefusal, unasked } from './toolbox-connection.ts';
import { type ToolboxReply, windowBytes } from './toolbox-protocol.ts';

/** Input bytes in one frame. */
const feedBytes = 64 << 10;
/** Output is acknowledged in steps of this, so that small messages do not cost a frame each. */
const creditBytes = windowBytes / 2;
/** Diagnostics passed on in a second; the toolbox keeps to a quarter of it. */
const stderrBytesPerSecond = 64 << 10;

/**
 * A program inside a sandbox as its worker sees it: bytes both ways, at most `windowBytes` of them under way in each
 * direction, and an end.
 */
export class ToolboxProcess {
  readonly #connection: ToolboxConnection;
  readonly #request: Pick<ProcessRequest, 'onStdout' | 'onStderr'>;
  readonly #id: number;
  readonly #started = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<number | undefined>();
  #isOver = false;
  /** Input bytes that may be sent now. */
  #room = windowBytes;
  #onRoom: (() => void) | undefined;
  #writes: Promise<void> = Promise.resolve();
  #isInputClosed = false;
  /** Output bytes that came and are not acknowledged, and those of them that were taken. */
  #underWay = 0;
  #taken = 0;
  #outputs: Promise<void> = Promise.resolve();
  #isTakingSlowly = false;
  #stderr = { second: 0, bytes: 0 };

  constructor(connection: ToolboxConnection, request: ProcessRequest) {
    this.#connection = connection;
    this.#request = request;
    // Nobody may be waiting yet when it fails.
    this.#started.promise.catch(() => undefined);
    this.#id = connection.exchange(
      {
        op: 'start',
        argv: request.argv,
        cwd: request.workingDirectory ?? '/workspace',
        env: toVariables(request.environment ?? {}),
      },
      this.#exchange(),
    );
  }

  /**
   * Resolves when it runs.
   * @throws ToolboxRefusal, AppError `sandbox.lost`, `sandbox.protocol`, `message.too_large`.
   */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  get exited(): Promise<number | undefined> {
    return this.#exited.promise;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** One write at a time, in the order of the calls. @throws AppError `sandbox.lost`. */
  async write(chunk: Uint8Array): Promise<void> {
    const write = this.#writes.then(async () => {
      for (let at = 0; at < chunk.length; ) {
        while (this.#room === 0 && !this.#isOver) {
          await new Promise<void>((resolve) => {
            this.#onRoom = resolve;
          });
        }
        if (this.#isOver || this.#isInputClosed) throw new AppError('sandbox.lost', 'The program takes no more input.');
        const part = chunk.subarray(at, at + Math.min(this.#room, feedBytes));
        this.#room -= part.length;
        at += part.length;
        this.#connection.post({ op: 'feed', target: this.#id, end: false }, part);
      }
    });
    this.#writes = write.catch(() => undefined);
    await write;
  }

  /** Closes its standard input after what was written. */
  end(): void {
    this.#writes = this.#writes.then(() => {
      if (this.#isOver || this.#isInputClosed) return;
      this.#isInputClosed = true;
      this.#connection.post({ op: 'feed', target: this.#id, end: true });
    });
  }

  /** Asks the toolbox to end it and everything it started. */
  cancel(): void {
    if (!this.#isOver) this.#connection.cancel(this.#id);
  }

  #exchange(): Exchange {
    return {
      bytesMax: () => windowBytes - this.#underWay,
      accept: (reply, body) => this.#accept(reply, body),
      lose: (reason) => {
        this.#started.reject(reason);
        this.#finish(undefined);
      },
    };
  }

  #accept(reply: ToolboxReply, body: Buffer): boolean {
    switch (reply.kind) {
      case 'started':
        this.#started.resolve();
        return false;
      case 'stdout':
        this.#underWay += body.length;
        if (body.length === 0 || this.#underWay > windowBytes) {
          throw new AppError('sandbox.protocol', 'The toolbox sent more output of a program than was asked for.');
        }
        this.#takeOutput(Buffer.from(body));
        return false;
      case 'stderr':
        this.#takeDiagnostics(body);
        return false;
      case 'credit':
        this.#room += reply.bytes;
        if (this.#room > windowBytes) {
          throw new AppError('sandbox.protocol', 'The toolbox took more input of a program than it was sent.');
        }
        this.#onRoom?.();
        return false;
      case 'done': {
        this.#started.resolve();
        const code = reply.ended === 'exit' ? reply.code : undefined;
        // What it wrote last is handed over before its end is told; of one that was killed nobody waits for that.
        if (this.#isTakingSlowly && code !== undefined) void this.#outputs.then(() => this.#finish(code));
        else this.#finish(code);
        return true;
      }
      case 'error':
        this.#started.reject(new ToolboxRefusal(reply.error));
        this.#finish(undefined);
        return true;
      default:
        throw unasked(reply);
    }
  }

  #takeOutput(chunk: Buffer): void {
    if (!this.#isTakingSlowly) {
      let taking: Promise<void> | void;
      try {
        taking = this.#request.onStdout(chunk);
      } catch {
        this.cancel();
        return;
      }
      if (taking === undefined) {
        this.#acknowledge(chunk.length);
        return;
      }
      this.#isTakingSlowly = true;
      this.#outputs = this.#waitFor(taking, chunk.length);
    } else {
      this.#outputs = this.#outputs.then(
        async () => await this.#waitFor(Promise.resolve(chunk).then(this.#request.onStdout), chunk.length),
      );
    }
    const last = this.#outputs;
    void last.then(() => {
      if (this.#outputs === last) this.#isTakingSlowly = false;
    });
  }

  /** Never rejects: a reader that fails ends the program. */
  async #waitFor(taking: Promise<void>, bytes: number): Promise<void> {
    try {
      await taking;
      this.#acknowledge(bytes);
    } catch {
      this.cancel();
    }
  }

  #acknowledge(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < creditBytes || this.#isOver) return;
    this.#underWay -= this.#taken;
    this.#connection.post({ op: 'credit', target: this.#id, bytes: this.#taken });
    this.#taken = 0;
  }

  #takeDiagnostics(body: Buffer): void {
    const second = Math.floor(performance.now() / 1000);
    if (this.#stderr.second !== second) this.#stderr = { second, bytes: 0 };
    const rest = body.subarray(0, Math.max(0, stderrBytesPerSecond - this.#stderr.bytes));
    this.#stderr.bytes += rest.length;
    if (rest.length > 0) this.#request.onStderr?.(Buffer.from(rest));
  }

  #finish(code: number | undefined): void {
    this.#isOver = true;
    this.#onRoom?.();
    this.#exited.resolve(code);
  }
}

function toVariables(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
      throw new AppError('tool.invalid_arguments', `${name} is no name of an environment variable.`);
    }
    return `${name}=${value}`;
  });
}
