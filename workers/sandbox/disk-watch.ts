import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';

/** Files for each MiB of a watched workspace; the file systems we make ourselves hold as many. */
const filesPerMb = 128;
/** Growth that is not called growth: directories and logs of a command that cleans up. */
const slackMb = 1;

/** A large tree is measured so seldom that looking takes a tenth of the time at most. */
const lookShare = 10;

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
  #lookMs = 0;
  #mustTell = false;
  #allowedMb: number;
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: DiskWatchDeps) {
    this.#deps = deps;
    this.#allowedMb = deps.limitMb;
  }

  /** What it held at the last look, in MiB; undefined before the first. */
  get usedMb(): number | undefined {
    return this.#last?.usedMb;
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
    this.#laterOn();
  }

  /** Work ended. */
  end(): void {
    this.#isBusy = false;
    // What was written since the last look would otherwise go unseen, call by call.
    this.#laterOn();
  }

  stop(): void {
    this.#isBusy = false;
    clearTimeout(this.#timer);
  }

  /** Looks when the last look is long enough ago, and again and again while work goes on. */
  #laterOn(): void {
    clearTimeout(this.#timer);
    const sinceMs = performance.now() - this.#lastAt;
    this.#timer = setTimeout(
      () => {
        const startedAt = performance.now();
        void this.#measure().then(() => {
          this.#lastAt = startedAt;
          this.#lookMs = performance.now() - startedAt;
          if (this.#isBusy) this.#laterOn();
        });
      },
      Math.max(0, Math.max(this.#deps.everyMs, lookShare * this.#lookMs) - sinceMs),
    );
    this.#timer.unref();
  }

  async #measure(): Promise<void> {
    const { log, limitMb, measure, onFull, onMeasured } = this.#deps;
    try {
      this.#last = await measure();
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
