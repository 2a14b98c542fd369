import type { Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { Log } from '../kit/log.ts';
import { tellOperators } from '../people/tell-operators.ts';
import type { RoomPlace, RoomState } from './room.ts';
import { dropPending, upsertRoomState } from './room-store.ts';

/** What a change means, in the words of the notice; a state without words concerns one person and is only logged. */
const words: Readonly<Partial<Record<RoomState, string>>> = {
  left: 'I was removed from',
  archived: 'Somebody archived',
};

/**
 * Notes how an account stands with a room: in the database, in the log, and once to the owners where a room of several
 * people is lost. What was still to be said in a closed room is given up with the reason; work goes on, and a room that
 * is joined, unblocked or heard from again is simply written to again.
 *
 * @param state as the platform says it; `unreachable` is for a send that failed for good, and changes nothing in a room
 *   of which more is known.
 * @returns whether that was news.
 */
export async function noteRoom(
  deps: { readonly tx: Tx; readonly log: Log },
  place: RoomPlace,
  state: Exclude<RoomState, 'migrated'>,
  reason: string,
): Promise<boolean> {
  const { tx, log } = deps;
  const isNews = await upsertRoomState(tx, place, state, reason);
  const dropped = state === 'active' ? 0 : await dropPending(tx, place, `the room is ${state}: ${reason}`);
  if (!isNews) return false;
  const { channel, account, room } = place;
  log.warn({ channel, account, room, state, reason, dropped }, 'room changed');
  const said = words[state];
  if (said !== undefined) {
    await tellOperators(tx, {
      key: `room:${newId()}`,
      level: 'warn',
      markdown: [
        `${said} the ${channel} room \`${room.replaceAll('`', "'")}\`.`,
        dropped === 0 ? '' : `${dropped === 1 ? 'One message' : `${dropped} messages`} for it could not be said.`,
        'Invite me again and I go on there.',
      ]
        .filter((part) => part !== '')
        .join(' '),
    });
  }
  return true;
}
