import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { greetToolbox } from './greet-toolbox.ts';
import type { ToolboxConnection } from './toolbox-connection.ts';

/** Dialled sockets that may wait to say hello at once; agents can dial too. */
const candidatesMax = 4;
/** How long a dialled socket may stay silent. */
const helloMs = 2_000;
/** How long the right toolbox may still take after one of another version dialled. */
const versionMs = 300;

/** Name of the socket in its directory, which containers see as `/run/host`. */
export const socketName = 'toolbox.sock';

/**
 * The worker's end of one session's sandbox: a unix socket in a directory that the container sees read-only. The
 * container dials, because a path the container can write could be a symlink to another socket of this host.
 *
 * Whoever bound the socket last owns the session: a later worker binds beside and renames over, so ownership moves in
 * one step and the earlier one can tell by the inode.
 */
export class ToolboxListener {
  readonly #server: Server;
  readonly #path: string;
  readonly #inode: bigint;
  readonly #candidates = new Set<Socket>();
  #connection = nextConnection();
  #isTaken = false;
  #versionTimer: NodeJS.Timeout | undefined;

  private constructor(server: Server, socketPath: string, inode: bigint) {
    this.#server = server;
    this.#path = socketPath;
    this.#inode = inode;
    server.on('connection', (socket) => this.#greet(socket));
    server.on('error', () => undefined);
  }

  /** Binds the socket of `directory` and takes ownership of the session. */
  static async open(directory: string): Promise<ToolboxListener> {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    // The umask may have narrowed it; the container's user needs to pass.
    await chmod(directory, 0o755);
    const own = path.join(directory, `.${randomBytes(4).toString('hex')}`);
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(own, resolve);
    });
    await chmod(own, 0o666);
    const { ino } = await stat(own, { bigint: true });
    const socketPath = path.join(directory, socketName);
    const listener = new ToolboxListener(server, socketPath, ino);
    await rename(own, socketPath);
    return listener;
  }

  /**
   * The toolbox, once it dialled in and said hello.
   * @throws AppError `sandbox.lost` after `timeoutMs` or when closed.
   */
  async connection(timeoutMs: number): Promise<ToolboxConnection> {
    // What dialled before may have come from a container that was replaced meanwhile; a toolbox dials again.
    clearTimeout(this.#versionTimer);
    this.#versionTimer = undefined;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new AppError('sandbox.lost', `The toolbox did not dial in within ${timeoutMs} ms.`)),
      timeoutMs,
    );
    try {
      return await Promise.race([this.#connection.promise, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether no other worker has taken the session over. */
  async isOwner(): Promise<boolean> {
    try {
      return (await stat(this.#path, { bigint: true })).ino === this.#inode;
    } catch {
      return false;
    }
  }

  /** Stops listening; the socket file goes only while it is still ours. */
  async close(): Promise<void> {
    const isOwner = await this.isOwner();
    clearTimeout(this.#versionTimer);
    for (const socket of this.#candidates) socket.destroy();
    this.#connection.reject(new AppError('sandbox.lost', 'The sandbox was closed.'));
    // Not awaited: that would last as long as the toolbox's connection, which has an end of its own.
    this.#server.close();
    if (isOwner) await rm(this.#path, { force: true });
  }

  #greet(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#isTaken || this.#candidates.size >= candidatesMax) {
      socket.destroy();
      return;
    }
    this.#candidates.add(socket);
    greetToolbox(socket, helloMs).then(
      (connection) => {
        this.#candidates.delete(socket);
        if (this.#isTaken) return connection.close(new AppError('sandbox.lost', 'Another toolbox was faster.'));
        this.#isTaken = true;
        clearTimeout(this.#versionTimer);
        this.#connection.resolve(connection);
      },
      (err: unknown) => {
        this.#candidates.delete(socket);
        if (isAppError(err, 'image.missing')) this.#onOtherVersion(err);
      },
    );
  }

  /** An image may bring an older toolbox. Anybody in the container can say such a hello, so it is not the last word. */
  #onOtherVersion(reason: AppError): void {
    if (this.#isTaken) return;
    this.#versionTimer ??= setTimeout(() => {
      this.#versionTimer = undefined;
      const { reject } = this.#connection;
      // The next container of the session may bring the right one.
      this.#connection = nextConnection();
      reject(reason);
    }, versionMs);
  }
}

function nextConnection(): PromiseWithResolvers<ToolboxConnection> {
  const next = Promise.withResolvers<ToolboxConnection>();
  // Nobody may be waiting yet when it fails.
  next.promise.catch(() => undefined);
  return next;
}
