import { pathForRecord } from '#core/egress/egress-record.ts';
import { AppError } from '#core/kit/errors.ts';
import type { EgressJournal } from '../egress/egress-journal.ts';

/** For whom requests to a server are made. */
interface Caller {
  readonly sessionId: string;
  readonly agentName: string;
}

/**
 * A `fetch` whose requests are within the bounds of the session and on its record, as those of every other tool are.
 * @throws AppError `egress.refused` for a request beyond the bounds.
 */
export function recordedFetch(
  inner: typeof fetch,
  journal: Pick<EgressJournal, 'admit' | 'spend' | 'record'>,
  caller: Caller,
): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const about = {
      sessionId: caller.sessionId,
      agent: caller.agentName,
      from: 'tools',
      method: init?.method ?? 'GET',
      host: url.hostname,
      port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
      path: pathForRecord(url),
    } as const;
    const admission = await journal.admit(about);
    if (!admission.ok) {
      throw new AppError('egress.refused', admission.reason, { retryAfterMs: admission.retryAfterSeconds * 1000 });
    }
    const spend = (bytes: number): void => {
      if (journal.spend(caller.sessionId, bytes)) return;
      throw new AppError('egress.refused', 'The session used up what it may send and receive in a day.');
    };
    const began = performance.now();
    const sentBytes = typeof init?.body === 'string' ? Buffer.byteLength(init.body) : 0;
    const record = (verdict: 'allowed' | 'failed', receivedBytes: number, status?: number): void => {
      const tookMs = Math.round(performance.now() - began);
      journal.record({
        ...about,
        verdict,
        sentBytes,
        receivedBytes,
        tookMs,
        ...(status === undefined ? {} : { status }),
      });
    };
    let response: Response;
    spend(sentBytes);
    try {
      response = await inner(input, init);
    } catch (err) {
      record('failed', 0);
      throw err;
    }
    const { body, status } = response;
    if (body === null) {
      record('allowed', 0, status);
      return response;
    }
    const counted = countedBody(body, spend, (bytes, isWhole) => record(isWhole ? 'allowed' : 'failed', bytes, status));
    const answer = new Response(counted, { status, headers: response.headers });
    Object.defineProperty(answer, 'url', { value: response.url });
    return answer;
  };
}

/** The same body; `spend` is told of each piece and may refuse, `onEnd` learns once how much was read. */
function countedBody(
  body: ReadableStream<Uint8Array>,
  spend: (bytes: number) => void,
  onEnd: (bytes: number, isWhole: boolean) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let bytes = 0;
  return new ReadableStream({
    pull: async (controller) => {
      try {
        const { done, value } = await reader.read();
        if (done) {
          onEnd(bytes, true);
          controller.close();
          return;
        }
        bytes += value.byteLength;
        spend(value.byteLength);
        controller.enqueue(value);
      } catch (err) {
        onEnd(bytes, false);
        controller.error(err);
        await reader.cancel(err).catch(() => undefined);
      }
    },
    cancel: async (reason) => {
      // A reader that has what it wants ends an event stream this way.
      onEnd(bytes, true);
      await reader.cancel(reason);
    },
  });
}
