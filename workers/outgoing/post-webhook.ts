import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { portOf } from '#core/egress/decide-egress.ts';
import type { CallOutcome, OutgoingCall, WebhookEndpoint } from '#core/webhooks/webhook.ts';
import { BlockedAddressError, guardedLookup, literalRefusal } from '../egress/reach.ts';
import { signBody } from './sign-body.ts';

/** A receiver that takes longer is tried again later. */
const timeoutMs = 10_000;

/**
 * Tells a web hook of one event. Whatever it answers in its body is not read. Redirects are not followed: they could
 * lead to where the guard would not let us.
 */
export async function postWebhook(
  endpoint: WebhookEndpoint,
  call: OutgoingCall,
  now: Date,
  signal: AbortSignal,
): Promise<CallOutcome> {
  const body = JSON.stringify({
    id: call.eventId,
    event: call.event,
    occurredAt: call.createdAt.toISOString(),
    data: call.payload,
  });
  const timestamp = Math.floor(now.getTime() / 1000);
  try {
    const status = await post(endpoint, body, signal, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      'user-agent': 'switchyard',
      'x-switchyard-event': call.event,
      'x-switchyard-id': call.eventId,
      'x-switchyard-timestamp': String(timestamp),
      'x-switchyard-signature': signBody(endpoint.secret, timestamp, body),
    });
    if (status >= 200 && status < 300) return { state: 'delivered' };
    // 410 is how a receiver says that it is gone for good.
    return { state: status === 410 ? 'dead' : 'retry', reason: `it answered ${status}` };
  } catch (err) {
    if (err instanceof BlockedAddressError) {
      return { state: 'dead', reason: `${err.message}; allow_private in switchyard.yaml lets it be called` };
    }
    // The message of a connection error holds the address, the code does not.
    const code = err instanceof Error && 'code' in err ? String(err.code) : 'no answer';
    return { state: 'retry', reason: `it could not be reached (${code})` };
  }
}

async function post(
  endpoint: WebhookEndpoint,
  body: string,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  const url = new URL(endpoint.url);
  // A literal address is connected to without any look-up.
  const refusal = endpoint.allowsPrivate ? undefined : literalRefusal({}, url.hostname, portOf(url));
  if (refusal !== undefined) throw refusal;
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return await new Promise<number>((resolve, reject) => {
    const sent = request(
      url,
      {
        method: 'POST',
        headers,
        agent: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
        ...(endpoint.allowsPrivate ? {} : { lookup: guardedLookup({}, portOf(url)) }),
      },
      (response) => {
        response.on('error', () => undefined);
        response.destroy();
        resolve(response.statusCode ?? 0);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
