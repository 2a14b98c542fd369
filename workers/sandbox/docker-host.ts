import type Docker from 'dockerode';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { engineStatus, imageMissing, imageNamed, isEngineAway, openEngine, toEngineError } from './docker-engine.ts';
import { requireSandboxImage } from './sandbox-image-label.ts';

/** How long an image's id is believed: a rebuilt image then gives new containers. */
const imageIdMs = 5_000;
/** How long the size of the machine is believed. */
const factsMs = 60_000;

/** One engine of `DOCKER_HOSTS`. */
export interface DockerHostSetting {
  /** What sessions remember where their files are by. */
  readonly name: string;
  /** A `DOCKER_HOST` value; the local engine when absent. */
  readonly url?: string;
  /** Whether engine and worker see the same files at the same paths; only then there is a folder for sockets and files. */
  readonly sharesFiles: boolean;
  /** Folder of the client's certificate, for TLS. */
  readonly certPath?: string;
}

/** The name of the engine of an installation that has one. */
export const onlyHostName = 'local';

const factsSchema = z.object({
  MemTotal: z.number().default(0),
  Runtimes: z.record(z.string(), z.unknown()).default({}),
  DefaultRuntime: z.string().default(''),
});

export interface HostFacts {
  readonly memoryMb: number;
  readonly runtimes: readonly string[];
}

/** A Docker engine and what is known of it. */
export class DockerHost {
  readonly name: string;
  readonly engine: Docker;
  readonly sharesFiles: boolean;
  /** Whether it is a socket of this machine. */
  readonly isLocal: boolean;
  readonly #imageIds = new Map<string, { readonly id: string; readonly at: number }>();
  #facts: { readonly value: HostFacts; readonly at: number } | undefined;

  /** Dials nothing yet. @throws AppError `config.invalid`. */
  constructor(setting: DockerHostSetting) {
    this.name = setting.name;
    this.engine = openEngine(setting.url, setting.certPath);
    this.sharesFiles = setting.sharesFiles;
    const url = setting.url?.trim() ?? '';
    this.isLocal = url === '' || url.startsWith('/') || url.startsWith('unix://');
  }

  /** The image's content id. @throws AppError `image.missing`, `image.invalid`, `sandbox.unavailable`. */
  async imageId(image: string): Promise<string> {
    const known = this.#imageIds.get(image);
    if (known !== undefined && performance.now() - known.at < imageIdMs) return known.id;
    try {
      const { Id: id, Config: config } = await imageNamed(this.engine, image).inspect();
      requireSandboxImage(image, config.Labels);
      this.#imageIds.set(image, { id, at: performance.now() });
      return id;
    } catch (err) {
      throw engineStatus(err) === 404 ? imageMissing(image, err) : this.toError(err);
    }
  }

  /** Memory and runtimes of the machine. @throws AppError `sandbox.unavailable`. */
  async facts(): Promise<HostFacts> {
    if (this.#facts !== undefined && performance.now() - this.#facts.at < factsMs) return this.#facts.value;
    try {
      const info = factsSchema.parse(await this.engine.info());
      const value = { memoryMb: Math.floor(info.MemTotal / (1 << 20)), runtimes: Object.keys(info.Runtimes).sort() };
      this.#facts = { value, at: performance.now() };
      return value;
    } catch (err) {
      throw this.toError(err);
    }
  }

  /** What failed at this engine, named where there are several. */
  toError(err: unknown): AppError {
    if (err instanceof AppError) return err;
    if (this.name === onlyHostName || !isEngineAway(err)) return toEngineError(err);
    return new AppError('sandbox.unavailable', `The Docker host ${this.name} does not answer.`, {
      mend: 'Start its engine, or see DOCKER_HOSTS; sessions with files there wait for it, new ones go to other hosts.',
      cause: err,
    });
  }

  /** An unknown runtime as what it is; anything else as it came. */
  async explainRefusal(err: unknown, runtime: string | undefined): Promise<unknown> {
    const text = err instanceof Error ? err.message : '';
    if (runtime === undefined || !/runtime/i.test(text) || engineStatus(err) === undefined) return err;
    const { runtimes } = await this.facts();
    if (runtimes.includes(runtime)) return err;
    return new AppError('sandbox.unavailable', `The Docker engine has no runtime "${runtime}".`, {
      mend: `It has ${runtimes.join(', ')}. Install it there, or change sandbox.runtime of the agent.`,
      cause: err,
    });
  }
}
