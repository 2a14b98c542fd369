import { sha256 } from '../kit/ids.ts';
import type { InboundEvent } from './inbound.ts';

/** Events of other bots that address us, per room and minute: far more than a person's integration sends. */
const botEventsMax = 30;
/** Times the same text may be addressed to us in one room within a minute. */
const repeatsMax = 10;
const windowMs = 60_000;
/** How long a room is not listened to once the fuse has burnt. */
export const muteMs = 10 * 60_000;
/** Texts kept in mind per room; nobody who repeats himself needs so many others. */
const textsMax = 1000;
/** Rooms kept in mind; the quietest are forgotten first. */
const roomsMax = 2000;

export interface LoopFuse {
  /** Counts an event that addresses us. @returns why its room should be muted; undefined while all is well. */
  count(event: InboundEvent): string | undefined;
}

interface Tally {
  since: number;
  bots: number;
  readonly texts: Map<string, number>;
}

/**
 * Notices two programs that keep answering each other. Bots are not answered at all, but one that passes as a person
 * (a bridge, a relay) would be, for ever and at our cost. Only rooms of several people are counted: in private there is
 * somebody who can stop.
 */
export function createLoopFuse(now: () => number = Date.now): LoopFuse {
  const tallies = new Map<string, Tally>();
  return {
    count: (event) => {
      const { conversation, actor } = event;
      if (conversation.kind === 'dm') return undefined;
      const key = `${conversation.channel}:${conversation.account}:${conversation.room}`;
      const known = tallies.get(key);
      const tally =
        known !== undefined && now() - known.since < windowMs ? known : { since: now(), bots: 0, texts: new Map() };
      // Set anew, so that the order of the map is the order of use.
      tallies.delete(key);
      tallies.set(key, tally);
      if (tallies.size > roomsMax) tallies.delete(tallies.keys().next().value ?? key);
      if (actor.isBot) {
        tally.bots += 1;
        return tally.bots > botEventsMax ? `other bots sent me ${tally.bots} messages within a minute` : undefined;
      }
      if (event.type !== 'message' || event.text.trim() === '') return undefined;
      // Of one author: what others repeat must not be laid at the door of whoever says it next.
      const text = sha256(`${actor.externalId}\n${event.text.trim()}`);
      if (tally.texts.size >= textsMax) tally.texts.clear();
      const times = (tally.texts.get(text) ?? 0) + 1;
      tally.texts.set(text, times);
      return times > repeatsMax ? `it sent me the same text ${times} times within a minute` : undefined;
    },
  };
}
