import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import type Docker from 'dockerode';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import type { KnownPlace, SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { agentUser, labels } from './container-spec.ts';
import { engineStatus, removeContainer } from './docker-engine.ts';
import type { DockerHost } from './docker-host.ts';
import { unpauseContainer } from './live-container.ts';
import { askUse, type ContainerUse } from './read-use.ts';
import { holdMark, holdMs } from './session-container.ts';
import { keyOf } from './sweep-orphans.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

/** Questions to an engine at once. */
const atOnce = 8;
/** Shortest part of an id that stands for the whole. */
const prefixChars = 4;

/** A container as an operator sees it. Everything unknown is left out. */
export interface SandboxView {
  /** The container's, shortened. */
  readonly id: string;
  /** Empty for one that is kept ready. */
  readonly sessionId: string;
  readonly agent: string;
  readonly kind: string;
  readonly state: string;
  readonly host: string;
  readonly instance: string;
  readonly isOurs: boolean;
  readonly memoryUsedMb: number | undefined;
  readonly memoryMb: number | undefined;
  readonly processesUsed: number | undefined;
  readonly processes: number | undefined;
  readonly diskUsedMb: number | undefined;
  readonly diskMb: number | undefined;
  readonly disk: string;
  readonly createdAt: string;
}

/** A terminal to join to a shell. */
export interface ShellTerminal {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream;
  /** Rows and columns; absent where it is none, which then needs a command. */
  readonly size: (() => { readonly rows: number; readonly columns: number }) | undefined;
  /** Calls back when the size changed. @returns a function that stops it. */
  readonly onResize: (changed: () => void) => () => void;
}

interface SandboxDeskDeps {
  readonly hosts: readonly DockerHost[];
  readonly places: SandboxPlaces;
  readonly disks: WorkspaceDisks;
  readonly instance: string;
  readonly socketDirectory: string;
}

interface Found {
  readonly host: DockerHost;
  readonly container: Docker.ContainerInfo;
  readonly place: KnownPlace | undefined;
}

/** Looks at sandboxes, and into them, from outside of the workers that hold them. */
export class SandboxDesk {
  readonly #deps: SandboxDeskDeps;

  constructor(deps: SandboxDeskDeps) {
    this.#deps = deps;
  }

  /**
   * The containers there are, oldest first; with `all` those of other installations on these engines, too.
   * @returns also what hosts that do not answer said. @throws AppError `sandbox.unavailable` when none answers.
   */
  async list(options: {
    readonly all: boolean;
  }): Promise<{ readonly sandboxes: readonly SandboxView[]; readonly away: readonly string[] }> {
    const { found, away } = await this.#find(options.all);
    const sandboxes: SandboxView[] = [];
    for (let at = 0; at < found.length; at += atOnce) {
      sandboxes.push(...(await Promise.all(found.slice(at, at + atOnce).map(async (each) => await this.#view(each)))));
    }
    return { sandboxes, away };
  }

  /** The session that an id, or the beginning of one, of a session or a container stands for. @throws AppError `request.not_found`. */
  async sessionOf(text: string): Promise<string> {
    const places = await this.#deps.places.list();
    const { found } = await this.#find(false).catch(() => ({ found: [] }));
    const known = new Map<string, string>();
    for (const { sessionId } of places) known.set(sessionId, sessionId);
    for (const each of found) {
      const sessionId = sessionIdOf(each);
      if (sessionId === '') continue;
      known.set(sessionId, sessionId);
      known.set(each.container.Id, sessionId);
    }
    const exact = known.get(text);
    if (exact !== undefined) return exact;
    const matches = [...known].filter(([id]) => text.length >= prefixChars && id.startsWith(text));
    const sessions = new Set(matches.map(([, sessionId]) => sessionId));
    const [only] = sessions;
    if (only !== undefined && sessions.size === 1) return only;
    const isVague = sessions.size > 1;
    throw new AppError(
      'request.not_found',
      isVague ? `${sessions.size} sessions begin with ${text}.` : `There is no sandbox of a session ${text}.`,
      { mend: isVague ? 'Give more of the id.' : './switchyard sandbox list shows those there are.' },
    );
  }

  /** Removes a session's containers; its files stay. A worker that uses one makes another. @returns how many. */
  async removeContainers(sessionId: string): Promise<number> {
    const { found } = await this.#find(false);
    const own = found.filter((each) => sessionIdOf(each) === sessionId);
    for (const { host, container } of own) await removeContainer(host.engine, container.Id);
    return own.length;
  }

  /**
   * Joins a terminal to a shell in the session's container, as the agent's user, or runs one command there. The
   * container is woken, and kept awake while the shell is open.
   * @returns its exit code. @throws AppError `request.not_found` when the session has no container now.
   */
  async shell(
    sessionId: string,
    terminal: ShellTerminal,
    options: { readonly kind: string; readonly command?: string },
  ): Promise<number> {
    const { found } = await this.#find(false);
    const target = found.find(
      (each) => sessionIdOf(each) === sessionId && (each.container.Labels[labels.kind] ?? 'core') === options.kind,
    );
    if (target === undefined) {
      throw new AppError('request.not_found', `Session ${sessionId} has no container at present.`, {
        mend: 'The next thing its agent does there makes one; its files are kept meanwhile.',
      });
    }
    const { engine } = target.host;
    await using _ = this.#hold(target);
    await unpauseContainer(engine, target.container.Id);
    const isTerminal = terminal.size !== undefined;
    const exec = await engine.getContainer(target.container.Id).exec({
      // Without start files: the agent could have written them to deceive whoever looks.
      Cmd: ['bash', '--noprofile', '--norc', ...(options.command === undefined ? [] : ['-c', options.command])],
      User: agentUser,
      WorkingDir: '/workspace',
      Env: ['TERM=xterm-256color', 'HISTFILE=/dev/null', 'INPUTRC=/dev/null', 'PS1=sandbox:\\w\\$ '],
      Tty: isTerminal,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: isTerminal });
    const resize = async () => {
      const size = terminal.size?.();
      if (size !== undefined) await exec.resize({ h: size.rows, w: size.columns }).catch(() => undefined);
    };
    await resize();
    const stopResizing = terminal.onResize(() => void resize());
    try {
      await join(engine, stream, terminal, isTerminal);
    } finally {
      stopResizing();
      stream.destroy();
    }
    const { ExitCode: code } = await exec.inspect();
    return code ?? 1;
  }

  /** What the engine says of a session's containers now, one sentence each. */
  async describe(sessionId: string): Promise<readonly string[]> {
    const { found, away } = await this.#find(false);
    const lines = await Promise.all(
      found
        .filter((each) => sessionIdOf(each) === sessionId)
        .map(async ({ host, container }) => {
          const { State: state } = await host.engine.getContainer(container.Id).inspect();
          const memory = state.OOMKilled ? ', once ended for memory' : '';
          const kind = container.Labels[labels.kind] ?? 'core';
          return `${kind} ${container.Id.slice(0, 12)} on ${host.name}: ${state.Status} since ${state.StartedAt}${memory}`;
        }),
    );
    return [...(lines.length === 0 ? ['no container at present; its files are kept'] : lines), ...away];
  }

  async #find(all: boolean): Promise<{ readonly found: readonly Found[]; readonly away: readonly string[] }> {
    const { hosts, instance, places } = this.#deps;
    const known = await places.list();
    const filter = all ? labels.instance : `${labels.instance}=${instance}`;
    const answers = await Promise.allSettled(
      hosts.map(async (host) => {
        const containers = await host.engine
          .listContainers({ all: true, filters: { label: [filter] } })
          .catch((err: unknown) => {
            throw host.toError(err);
          });
        return containers
          .filter((container) => (container.Labels[labels.host] ?? host.name) === host.name || hosts.length === 1)
          .map((container): Found => {
            const workspace = container.Labels[labels.workspace];
            const isOurs = container.Labels[labels.instance] === instance;
            const place = known.find((each) => isOurs && each.host === host.name && each.workspace === workspace);
            return { host, container, place };
          });
      }),
    );
    const failed = answers.filter((answer) => answer.status === 'rejected');
    if (failed.length === answers.length && failed[0] !== undefined) throw failed[0].reason;
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    return {
      found: found.sort((a, b) => a.container.Created - b.container.Created),
      away: failed.map(({ reason }) => (reason instanceof AppError ? reason.text : String(reason))),
    };
  }

  async #view(found: Found): Promise<SandboxView> {
    const { host, container, place } = found;
    const label = (name: string) => container.Labels[name];
    const numbered = (name: string) => {
      const text = label(name);
      return text === undefined || !/^\d{1,9}$/.test(text) ? undefined : Number(text);
    };
    const isOurs = label(labels.instance) === this.#deps.instance;
    const workspace = label(labels.workspace);
    const onDisk = isOurs && workspace !== undefined ? await this.#deps.disks.loop?.usedMb(workspace) : undefined;
    const use = await useOf(host, container);
    return {
      id: container.Id.slice(0, 12),
      sessionId: sessionIdOf(found),
      agent: label(labels.agent) ?? '',
      kind: label(labels.kind) ?? 'core',
      state: container.State,
      host: host.name,
      instance: label(labels.instance) ?? '',
      isOurs,
      memoryUsedMb: use?.memoryMb,
      memoryMb: numbered(labels.memoryMb),
      processesUsed: use?.processes,
      processes: numbered(labels.pids),
      diskUsedMb: onDisk ?? place?.usedMb,
      diskMb: numbered(labels.diskMb),
      disk: place?.disk ?? label(labels.disk) ?? '',
      createdAt: label(labels.created) ?? '',
    };
  }

  /** Keeps the session's worker from putting the container to rest. Where that cannot be said, it may freeze. */
  #hold({ host, container }: Found): AsyncDisposable {
    const mark = path.join(this.#deps.socketDirectory, keyOf(container), holdMark);
    const touch = () => void writeFile(mark, '').catch(() => undefined);
    if (host.sharesFiles) touch();
    const timer = host.sharesFiles ? setInterval(touch, holdMs / 4) : undefined;
    return {
      [Symbol.asyncDispose]: async () => clearInterval(timer),
    };
  }
}

function sessionIdOf({ container, place }: Found): string {
  return place?.sessionId ?? container.Labels[labels.session] ?? '';
}

/** What a container uses; undefined when it does not run, or nobody says. */
async function useOf(host: DockerHost, container: Docker.ContainerInfo): Promise<ContainerUse | undefined> {
  if (container.State !== 'running' && container.State !== 'paused') return undefined;
  try {
    return await askUse(host, container.Id);
  } catch (err) {
    // Gone meanwhile, or a proxy in front of the engine does not let us ask.
    if (engineStatus(err) === undefined && !(err instanceof z.ZodError)) throw host.toError(err);
    return undefined;
  }
}

/** Passes bytes both ways until the shell ends. */
async function join(engine: Docker, stream: Duplex, terminal: ShellTerminal, isTerminal: boolean): Promise<void> {
  const { stdin, stdout } = terminal;
  const ended = new Promise<void>((resolve) => {
    stream.once('end', resolve);
    stream.once('close', resolve);
    stream.once('error', () => resolve());
  });
  // A terminal gives one plain stream; otherwise the engine marks what is output and what is diagnostics.
  if (isTerminal) stream.on('data', (chunk: Buffer) => stdout.write(chunk));
  else engine.modem.demuxStream(stream, stdout, stdout);
  const forward = (chunk: Buffer) => void stream.write(chunk);
  if (isTerminal) stdin.on('data', forward);
  try {
    await ended;
  } finally {
    stdin.off('data', forward);
    stdin.pause();
  }
}
