import type { Db } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { buryOrphans, claimCalls, recordCall } from './outgoing-store.ts';
import { attemptsMax, type CallOutcome, type OutgoingCall, retryPauseMs } from './webhook.ts';

/** Calls in flight at the same time. */
const callsMax = 16;
/** Longer than any call may take, so that nobody else makes it meanwhile. */
const leaseMs = 60_000;

/**
 * Makes the calls that are due and that this process is `able` to make, each until it is taken or given up. A worker that dies between a call and its record
 * makes it again: the receiver recognises the repetition by the event's id.
 * @returns how many were tried.
 */
export async function makeCalls(
  deps: { readonly db: Db; readonly log: Log; readonly call: (call: OutgoingCall) => Promise<CallOutcome> },
  able: { readonly endpointIds: readonly string[]; readonly canMail: boolean },
  signal: AbortSignal,
): Promise<number> {
  await buryOrphans(deps.db);
  let count = 0;
  while (!signal.aborted) {
    const calls = await claimCalls(deps.db, { ...able, rowsMax: callsMax, leaseMs });
    if (calls.length === 0) break;
    count += calls.length;
    await Promise.all(
      calls.map(async (call) => {
        const outcome = await deps.call(call);
        await record(deps, call, outcome);
      }),
    );
  }
  return count;
}

async function record(
  deps: { readonly db: Db; readonly log: Log },
  call: OutgoingCall,
  outcome: CallOutcome,
): Promise<void> {
  const { id, kind, eventId, attempts } = call;
  if (outcome.state === 'delivered') return await recordCall(deps.db, id, { state: 'delivered' });
  const { reason } = outcome;
  if (outcome.state === 'dead' || attempts >= attemptsMax) {
    deps.log.error({ outgoingId: id, kind, eventId, attempts, reason }, 'call to the outside was given up');
    return await recordCall(deps.db, id, { state: 'dead', reason });
  }
  deps.log.warn({ outgoingId: id, kind, eventId, attempts, reason }, 'call to the outside failed');
  await recordCall(deps.db, id, { state: 'pending', reason, afterMs: retryPauseMs(attempts) });
}
