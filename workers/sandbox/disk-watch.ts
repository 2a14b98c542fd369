import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';

/** Files for each MiB of a watched workspace; the file systems we make ourselves hold as many. */
const filesPerMb = 128;
/** Growth that is not called growth: directories and logs of a command that cleans up. */
const slackMb = 1;

interface DiskUse {
  readonly usedMb: number;
  readonly files: number;
}

interface DiskWatchDeps {
  readonly log: Log;
  readonly limitMb: number;
  readonly everyMs: number;
  readonly measure: () => Promise<DiskUse>;
  /** Work goes on while the workspace grows beyond its limit: it must end. */
  readonly onFull: (err: AppError) => void;
  readonly onMeasured: (usedMb: number) => void;
}

/**
 * Holds a workspace to its size where nothing else does, by measuring it while work goes on and once after. What grows
 * it beyond its limit is ended; the next call is refused and told why; the calls after that may delete files, as long
 * as they do not grow it further.
 */
export class DiskWatch {
  readonly #deps: DiskWatchDeps;
  #last: DiskUse | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  #mustTell = false;
  #allowedMb: number;
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #measuring: Promise<void> | undefined;

  constructor(deps: DiskWatchDeps) {
    this.#deps = deps;
    this.#allowedMb = deps.limitMb;
  }

  /** Work begins. @throws AppError `sandbox.disk_full` once after the workspace was found too large. */
  begin(): void {
    if (this.#mustTell) {
      this.#mustTell = false;
      throw this.#full('This call was not run.');
    }
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#allowedMb = Math.max(this.#deps.limitMb, (this.#last?.usedMb ?? 0) + slackMb);
    const sinceMs = performance.now() - this.#lastAt;
    this.#later(Math.max(0, this.#deps.everyMs - sinceMs));
  }

  /** Work ended. */
  end(): void {
    this.#isBusy = false;
    clearTimeout(this.#timer);
    // What was written since the last look would otherwise go unseen, call by call.
    if (performance.now() - this.#lastAt > this.#deps.everyMs) void this.#look();
  }

  stop(): void {
    this.#isBusy = false;
    clearTimeout(this.#timer);
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#look().then(() => {
        if (this.#isBusy) this.#later(this.#deps.everyMs);
      });
    }, ms);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    await this.#measuring;
  }

  async #measure(): Promise<void> {
    const { log, limitMb, measure, onFull, onMeasured } = this.#deps;
    try {
      this.#last = await measure();
      this.#lastAt = performance.now();
    } catch (err) {
      // The container is paused or gone, or the agent is in the way; the next look comes soon enough.
      log.debug({ err }, 'workspace not measured');
      return;
    }
    onMeasured(this.#last.usedMb);
    const isOver = this.#last.usedMb > limitMb || this.#last.files > limitMb * filesPerMb;
    if (!isOver) return;
    if (!this.#isBusy) this.#mustTell = true;
    else if (this.#last.usedMb > this.#allowedMb || this.#last.files > limitMb * filesPerMb * 2) {
      onFull(this.#full('What ran was ended.'));
    }
  }

  #full(consequence: string): AppError {
    const { limitMb } = this.#deps;
    const { usedMb = 0, files = 0 } = this.#last ?? {};
    const said =
      usedMb > limitMb
        ? `holds ${Math.round(usedMb)} MiB and may hold ${limitMb}`
        : `holds ${files} files and may hold ${limitMb * filesPerMb}`;
    return new AppError('sandbox.disk_full', `The workspace ${said}. ${consequence}`, {
      mend: 'Delete files that are no longer needed, then go on; or raise sandbox.disk_mb of the agent.',
    });
  }
}
