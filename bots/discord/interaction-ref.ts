/** What is needed to answer an interaction, packed into the opaque `interactionToken` of an inbound event. */
export interface InteractionRef {
  readonly kind: 'command' | 'component' | 'form';
  readonly appId: string;
  readonly id: string;
  readonly token: string;
}

const letters = { command: 'c', component: 'b', form: 'f' } as const;
const kinds: Readonly<Record<string, InteractionRef['kind']>> = { c: 'command', b: 'component', f: 'form' };

/** Milliseconds of Discord's first second, 2015-01-01, from which its ids count. */
const discordEpochMs = 1_420_070_400_000;
/** A token is good for 15 minutes; what is begun in the last seconds would come too late. */
const tokenLifeMs = 15 * 60_000 - 10_000;

export function packInteraction(ref: InteractionRef): string {
  return `${letters[ref.kind]}.${ref.appId}.${ref.id}.${ref.token}`;
}

/** @returns undefined for anything that is not such a token. */
export function unpackInteraction(packed: string): InteractionRef | undefined {
  const [, letter = '', appId = '', id = '', token = ''] =
    /^([cbf])\.(\d{1,20})\.(\d{1,20})\.(\S+)$/.exec(packed) ?? [];
  const kind = kinds[letter];
  return kind === undefined ? undefined : { kind, appId, id, token };
}

/** Whether answers by the token are still taken. */
export function isAlive(ref: InteractionRef, nowMs: number): boolean {
  return nowMs - timeOf(ref.id) < tokenLifeMs;
}

/** When an id was made, in ms since the epoch: Discord's ids carry it. */
export function timeOf(id: string): number {
  return Number(BigInt(id) >> 22n) + discordEpochMs;
}

/** The smallest id of a moment, for "after that time" in calls that take an id. */
export function idAt(ms: number): string {
  return String(BigInt(Math.max(0, Math.floor(ms - discordEpochMs))) << 22n);
}
