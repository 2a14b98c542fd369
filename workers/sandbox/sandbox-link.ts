import { Duplex } from 'node:stream';
import { AppError } from '#core/kit/errors.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { agentUser, type ContainerPlan } from './container-spec.ts';
import { greetToolbox } from './greet-toolbox.ts';
import type { ToolboxConnection } from './toolbox-connection.ts';
import { ToolboxListener } from './toolbox-listener.ts';

const toolbox = '/usr/local/bin/toolbox';

/** The worker's hold on one container: how it talks to its toolbox, and whether the container is still its own. */
export interface SandboxLink {
  /** Starts the toolbox and waits for its hello. @throws AppError `sandbox.lost`, or what the engine says. */
  reach(containerId: string, dialMs: number): Promise<ToolboxConnection>;
  /** Whether no other worker has taken the session over. */
  isOwner(): Promise<boolean>;
  close(): Promise<void>;
}

interface LinkDeps {
  readonly places: SandboxPlaces;
  /** Names this worker in the places. */
  readonly workerId: string;
}

/** Takes ownership of the plan's container, which need not exist yet. */
export async function openSandboxLink(deps: LinkDeps, plan: ContainerPlan): Promise<SandboxLink> {
  if (plan.host.sharesFiles) return await openSocketLink(plan);
  return await openStreamLink(deps, plan);
}

/** The toolbox dials a socket in the container's folder; whoever bound that last is the owner. */
async function openSocketLink(plan: ContainerPlan): Promise<SandboxLink> {
  const listener = await ToolboxListener.open(plan.hostDirectory);
  return {
    reach: async (containerId, dialMs) => {
      // Where a toolbox runs already, this tells it to dial the newest socket.
      const exec = await plan.host.engine.getContainer(containerId).exec({ Cmd: [toolbox], User: agentUser });
      // The answer is an empty body that has to be let go of: an open one keeps the process alive.
      (await exec.start({ Detach: true })).destroy();
      return await listener.connection(dialMs);
    },
    isOwner: async () => await listener.isOwner(),
    close: async () => await listener.close(),
  };
}

/** A toolbox of this worker's own, on the pipes of an exec: engine and worker share no folder. */
async function openStreamLink({ places, workerId }: LinkDeps, plan: ContainerPlan): Promise<SandboxLink> {
  const { sessionId } = plan.spec;
  await places.take(sessionId, workerId);
  return {
    reach: async (containerId, dialMs) => {
      const exec = await plan.host.engine.getContainer(containerId).exec({
        Cmd: [toolbox, '--stdio'],
        User: agentUser,
        AttachStdin: true,
        AttachStdout: true,
        AttachStderr: true,
      });
      const raw = await exec.start({ hijack: true, stdin: true });
      return await greetToolbox(new ExecStream(raw), dialMs);
    },
    isOwner: async () => await places.isOwner(sessionId, workerId),
    close: async () => undefined,
  };
}

/** Longest chunk an engine sends; it copies through buffers of 32 KiB. */
const chunkBytesMax = 16 << 20;

/**
 * Standard input and output of an exec as one stream. The engine marks each chunk with a header of eight bytes: which
 * stream, and how long. Standard error is dropped.
 */
class ExecStream extends Duplex {
  readonly #raw: Duplex;
  #head = Buffer.alloc(0);
  #left = 0;
  #isOutput = false;

  constructor(raw: Duplex) {
    super({ allowHalfOpen: false });
    this.#raw = raw;
    raw.on('data', (chunk: Buffer) => this.#take(chunk));
    raw.on('end', () => this.push(null));
    raw.on('error', (err) => this.destroy(err));
    raw.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#raw.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (err?: Error | null) => void): void {
    this.#raw.write(chunk, encoding, done);
  }

  override _destroy(err: Error | null, done: (err?: Error | null) => void): void {
    this.#raw.destroy();
    done(err);
  }

  #take(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left === 0) {
        const taken = rest.subarray(0, 8 - this.#head.length);
        this.#head = Buffer.concat([this.#head, taken]);
        rest = rest.subarray(taken.length);
        if (this.#head.length < 8) return;
        this.#left = this.#head.readUInt32BE(4);
        this.#isOutput = this.#head[0] === 1;
        this.#head = Buffer.alloc(0);
        if (this.#left > chunkBytesMax) {
          this.destroy(new AppError('sandbox.protocol', 'The engine sent a chunk that no engine sends.'));
          return;
        }
        continue;
      }
      const part = rest.subarray(0, this.#left);
      this.#left -= part.length;
      rest = rest.subarray(part.length);
      if (this.#isOutput && !this.push(part)) this.#raw.pause();
    }
  }
}
