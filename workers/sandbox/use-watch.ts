import type { Log } from '#core/kit/log.ts';
import type { ContainerUse, DiskRoom, UseReader } from './read-use.ts';

/** Share of a limit from which the agent is told. */
const nearShare = 0.9;
/** A workspace with less than this left is full: whatever ended in it has most likely met that. */
const fullMb = 1;
const fullFiles = 8;
/** With this much room again the next time is another one. */
const roomyMb = 4;
/** Between two looks at a disk: calls may follow each other by the thousand, and each look goes to the kernel. */
const diskLookMs = 200;

interface UseWatchDeps {
  readonly log: Log;
  readonly limits: { readonly memoryMb: number; readonly processes: number; readonly diskMb: number };
  /** Finds out how use is read; called once, with the first work. */
  readonly open: (cacheMattersFromMb: number) => Promise<UseReader>;
  /** Undefined where nobody knows. */
  readonly diskUsedMb: () => Promise<number | undefined>;
  /** Told once each time the workspace is found full behind a call; absent where its size is no wall. */
  readonly onDiskFull?: ((detail: string) => void) | undefined;
}

/**
 * Looks at what a container uses while work goes on in it, and says which limits it came near to. An idle container is
 * not looked at, so hundreds of them cost nothing.
 */
export class UseWatch {
  readonly #deps: UseWatchDeps;
  #reader: UseReader | undefined;
  #isOpened = false;
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #peakMb = 0;
  #peakProcesses = 0;
  #isFull = false;
  #diskLookedAt = Number.NEGATIVE_INFINITY;
  #diskTimer: NodeJS.Timeout | undefined;

  constructor(deps: UseWatchDeps) {
    this.#deps = deps;
  }

  /** Work begins: what was before is forgotten. */
  begin(): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#peakMb = 0;
    this.#peakProcesses = 0;
    this.#laterOn();
    if (this.#isOpened) return;
    this.#isOpened = true;
    this.#deps.open(this.#deps.limits.memoryMb * nearShare).then(
      (reader) => {
        this.#reader = reader;
        this.#laterOn();
        // The first work may be over by now.
        if (!this.#isBusy) this.#lookAtDiskSoon();
      },
      (err: unknown) => this.#deps.log.debug({ err }, 'use of a sandbox cannot be read'),
    );
  }

  /** Work ended. */
  end(): void {
    this.#isBusy = false;
    clearTimeout(this.#timer);
    this.#lookAtDiskSoon();
  }

  stop(): void {
    this.#isBusy = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#diskTimer);
    this.#diskTimer = undefined;
  }

  /** The limits the last work came near to, as one line; undefined when there is room. */
  async nearLimits(): Promise<string | undefined> {
    if (this.#reader?.isCheap === true) await this.#look();
    const { memoryMb, processes, diskMb } = this.#deps.limits;
    const parts = [
      near('memory', this.#peakMb, memoryMb, ' MB'),
      near('processes', this.#peakProcesses, processes, ''),
      near('disk', (await this.#diskUsedMb()) ?? 0, diskMb, ' MB'),
    ].filter((part) => part !== undefined);
    return parts.length === 0 ? undefined : parts.join(', ');
  }

  /** By the file system where it is as large as the workspace may be, because what is written reaches its disk later. */
  async #diskUsedMb(): Promise<number | undefined> {
    const { onDiskFull, limits, diskUsedMb } = this.#deps;
    const isWalled = onDiskFull !== undefined;
    const room = isWalled ? await this.#reader?.workspaceRoom?.().catch(() => undefined) : undefined;
    return room === undefined ? await diskUsedMb() : limits.diskMb - room.freeMb;
  }

  /** At once, or when the time since the look before is over. */
  #lookAtDiskSoon(): void {
    if (this.#diskTimer !== undefined) return;
    const waitMs = this.#diskLookedAt + diskLookMs - performance.now();
    if (waitMs <= 0) return void this.#lookAtDisk();
    this.#diskTimer = setTimeout(() => {
      this.#diskTimer = undefined;
      void this.#lookAtDisk();
    }, waitMs);
    this.#diskTimer.unref();
  }

  /** The kernel tells a full file system to programs alone, so it is looked at when they are done. */
  async #lookAtDisk(): Promise<void> {
    const { onDiskFull, limits, log } = this.#deps;
    const look = this.#reader?.workspaceRoom;
    if (onDiskFull === undefined || look === undefined) return;
    this.#diskLookedAt = performance.now();
    let room: DiskRoom;
    try {
      room = await look();
    } catch (err) {
      log.debug({ err }, 'room of a workspace was not read');
      return;
    }
    const isFull = room.freeMb < fullMb || room.freeFiles < fullFiles;
    if (isFull && !this.#isFull) {
      onDiskFull(
        room.freeMb < fullMb
          ? `The workspace is full: ${Math.floor(room.freeMb * 1024)} KiB of ${limits.diskMb} MiB are left.`
          : `The workspace is full: it can hold ${room.freeFiles} more files.`,
      );
    }
    if (isFull || (room.freeMb >= roomyMb && room.freeFiles >= fullFiles * 2)) this.#isFull = isFull;
  }

  #laterOn(): void {
    clearTimeout(this.#timer);
    if (!this.#isBusy || this.#reader === undefined) return;
    this.#timer = setTimeout(() => void this.#look().then(() => this.#laterOn()), this.#reader.everyMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    let use: ContainerUse;
    try {
      if (this.#reader === undefined) return;
      use = await this.#reader.read();
    } catch (err) {
      // The container is gone, or a proxy in front of the engine does not let us ask.
      this.#deps.log.debug({ err }, 'use of a sandbox was not read');
      return;
    }
    this.#peakMb = Math.max(this.#peakMb, use.memoryMb);
    this.#peakProcesses = Math.max(this.#peakProcesses, use.processes ?? 0);
  }
}

function near(what: string, used: number, limit: number, unit: string): string | undefined {
  return limit > 0 && used >= limit * nearShare ? `${what} ${Math.round(used)} of ${limit}${unit}` : undefined;
}
