/**
 * How a workspace is kept to its size: a file system in a file of its own, a project quota of the engine's disk, or by
 * being measured again and again.
 */
export type DiskKind = 'loop' | 'quota' | 'watched';

/** Where a session's files are. It does not change while there are any. */
export interface SandboxPlace {
  readonly sessionId: string;
  /** Name of the Docker host. */
  readonly host: string;
  /** Names the workspace on that host; the session's own id, or that of a container made before there was a session. */
  readonly workspace: string;
  readonly disk: DiskKind;
}

/** A place with what is known of its session. */
export interface KnownPlace extends SandboxPlace {
  readonly placedAt: Date;
  /** When the session ended, if it has. */
  readonly endedAt: Date | undefined;
  /** When a worker last said that it holds the container. */
  readonly seenAt: Date | undefined;
  /** As last measured. */
  readonly usedMb: number | undefined;
}

/** One fact in the life of a sandbox, kept for whoever looks for the reason at night. */
export interface SandboxEvent {
  readonly sessionId: string;
  readonly host: string;
  /** `core` or `browser`. */
  readonly kind: string;
  /** What happened: one word, such as `started`, `oom`, `disk_full`. */
  readonly what: string;
  /** A sentence, no secrets. */
  readonly detail?: string | undefined;
}

/** An event as it is read back. */
export interface SandboxEventRecord extends SandboxEvent {
  readonly at: Date;
}

/** What the workers of one installation agree on about sandboxes. */
export interface SandboxPlaces {
  find(sessionId: string): Promise<SandboxPlace | undefined>;
  /** Settles a session that has no place yet. @returns the place that holds, another worker's if that was faster. */
  settle(place: SandboxPlace): Promise<SandboxPlace>;
  list(): Promise<readonly KnownPlace[]>;
  remove(sessionId: string): Promise<void>;
  /** Makes `owner` the one worker that holds the session's sandbox. */
  take(sessionId: string, owner: string): Promise<void>;
  isOwner(sessionId: string, owner: string): Promise<boolean>;
  /** Tells that this worker lives and still holds what it took. */
  beat(owner: string): Promise<void>;
  noteUse(sessionId: string, usedMb: number): Promise<void>;
  /** Runs `work` while no other worker runs work of the same name. */
  exclusive<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Records an event; the oldest of the session and those of long ago go. */
  note(event: SandboxEvent): Promise<void>;
}
