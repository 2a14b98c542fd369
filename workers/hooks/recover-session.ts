import type { Clock } from '#core/kit/clock.ts';
import type { Db, Tx } from '#core/kit/database.ts';
import { errorTable } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { acceptTurns } from '#core/lanes/accept-turns.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { readEvents } from '#core/sessions/session-store.ts';
import { placeEvents } from '#core/turns/build-context.ts';
import { peopleOfTurn } from '#core/turns/people-of-turn.ts';
import type { TurnPayload } from '#core/turns/turn-event.ts';
import { hopsOfTurn } from '#core/turns/write-to-agents.ts';
import type { TurnWork } from '../turn/turn-deps.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';

/** Events in which the failures in a row are counted. */
const eventsMax = 400;

export interface RecoverSessionDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}

export interface RecoverSessionOptions {
  /** Tries in a row; an answer sets the counter back. */
  readonly retriesMax: number;
  /** Wait before the first try; each further one waits twice as long as the one before. */
  readonly afterMs: number;
}

/**
 * Goes on with a session whose turn failed for a reason that may pass: a provider that was away, a sandbox that was lost.
 * The counter is the number of failed turns at the end of the session's log, so it survives the worker; a try that was
 * waiting for its time does not.
 */
export function recoverSessionHook(
  deps: RecoverSessionDeps,
  options: RecoverSessionOptions,
): { readonly hook: Hook } & AsyncDisposable {
  const { log, clock } = deps;
  const stop = new AbortController();
  const waiting = new Set<Promise<void>>();
  const recover = async (work: TurnWork): Promise<void> => {
    const failures = await failuresInARow(deps.db, work, false);
    if (failures >= options.retriesMax) return;
    await clock.sleep(options.afterMs * 2 ** failures, stop.signal);
    const wakes = await deps.db.transaction().execute(async (tx) => await tryAgain(tx, work, options));
    await deps.ring(wakes);
  };
  return {
    hook: {
      ...builtIn('session-recovery'),
      turnEvent: (event) => {
        if (event.kind !== 'failed' || !errorTable[event.code].retry) return;
        const { work } = event;
        const run = recover(work).catch((err: unknown) => {
          if (!stop.signal.aborted)
            log.warn({ err, turnId: work.turnId, sessionId: work.sessionId }, 'recovery failed');
        });
        waiting.add(run);
        void run.finally(() => waiting.delete(run));
      },
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(waiting);
    },
  };
}

/** Puts the work on its lane again, unless somebody wrote meanwhile or the tries are used up. */
async function tryAgain(tx: Tx, work: TurnWork, options: RecoverSessionOptions): Promise<readonly LaneWake[]> {
  const failures = await failuresInARow(tx, work, true);
  if (failures === 0 || failures > options.retriesMax) return [];
  const { sessionId, turnId, kind, agentName, agentVersion, origin } = work;
  const payload: TurnPayload = {
    text: '(The last attempt broke off for a reason outside of this conversation. Go on from where it stopped; check what was already done before you repeat anything.)',
    author: 'Switchyard',
    // The rights of everybody whose words the failed turn worked on bound this one as well.
    handOff: { hops: await hopsOfTurn(tx, turnId), people: (await peopleOfTurn(tx, turnId)).map((id) => id ?? null) },
  };
  const [accepted] = await acceptTurns(tx, [
    {
      turnId: newId(),
      sessionId,
      eventKey: `recover:${turnId}`,
      mode: 'followup',
      kind,
      agentName,
      agentVersion,
      origin,
      payload,
    },
  ]);
  if (accepted === undefined || accepted.isDuplicate) return [];
  await putMessages(tx, [
    {
      key: `recover:${turnId}`,
      conversation: origin,
      importance: 'notice',
      sessionId,
      body: {
        parts: [{ type: 'notice', level: 'info', markdown: `Trying again (${failures} of ${options.retriesMax}).` }],
      },
    },
  ]);
  return accepted.wake === undefined ? [] : [accepted.wake];
}

/**
 * Failed turns at the end of a session's log. @param mustBeLast 0 when the turn is not the last that ended, or somebody
 * has written since: they have gone on by themselves.
 */
async function failuresInARow(db: Db | Tx, work: TurnWork, mustBeLast: boolean): Promise<number> {
  const placed = placeEvents(await readEvents(db, work.sessionId, eventsMax));
  const last = placed.findLast(({ event }) => event.kind === 'turn_ended' || event.kind === 'user_message');
  if (mustBeLast && !(last?.event.kind === 'turn_ended' && last.turnId === work.turnId)) return 0;
  let failures = 0;
  for (const { event, turnId } of placed.toReversed()) {
    if (event.kind !== 'turn_ended' || (!mustBeLast && turnId === work.turnId)) continue;
    if (event.state !== 'failed') break;
    failures += 1;
  }
  return failures;
}
