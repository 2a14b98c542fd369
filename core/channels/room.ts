/** A chat, channel or group on a platform, as one of our accounts sees it. */
export interface RoomPlace {
  readonly channel: string;
  readonly account: string;
  readonly room: string;
}

/** How our account stands with a room. */
export type RoomState = 'active' | 'left' | 'blocked' | 'archived' | 'unreachable' | 'migrated';

/** What is remembered of a room; one nobody noted anything of is active. */
export interface RoomNote extends RoomPlace {
  readonly state: RoomState;
  readonly reason: string;
  readonly migratedTo: string | undefined;
  readonly mutedUntil: Date | undefined;
}
