import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { ChannelRoute, HookReply, HookRequest } from '#core/inbox/channel-route.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';

/** The one address of this channel, for events, commands and interactions alike. */
export const hookPath = 'slack/events';
/** A signature is believed this long before and after the time in it. */
const toleranceSeconds = 300;

/** Far more than `ssl_check=1&token=...` has. */
const checkBytesMax = 1_000;

const verificationSchema = z.object({ type: z.literal('url_verification'), challenge: z.string().max(1_000) });

export interface HookDeps {
  readonly signingSecret: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Undefined while nothing can be stored. */
  readonly store: () => ((body: unknown) => Promise<void>) | undefined;
}

/** The web hook of the HTTP mode. Slack repeats what is not answered with 200, so that is said only when it is stored. */
export function createHook(deps: HookDeps): ChannelRoute {
  return { path: hookPath, handle: async (request) => await handle(deps, request) };
}

async function handle({ signingSecret, clock, log, store }: HookDeps, request: HookRequest): Promise<HookReply> {
  const refusal = refusalOf(request, signingSecret, clock.now().getTime());
  if (refusal !== undefined) {
    if (isCertificateCheck(request)) return { status: 200 };
    log.warn({ reason: refusal }, 'slack request was refused');
    return { status: 401 };
  }
  const body = readBody(request);
  if (body === undefined) return { status: 400 };
  const verification = verificationSchema.safeParse(body).data;
  if (verification !== undefined) {
    return { status: 200, contentType: 'text/plain; charset=utf-8', body: verification.challenge };
  }
  const put = store();
  if (put === undefined) return { status: 503 };
  try {
    await put(body);
  } catch (err) {
    log.warn({ err }, 'slack event could not be stored; it will come again');
    return { status: 503 };
  }
  return { status: 200 };
}

/** Why a request is not believed; undefined when its signature holds. */
function refusalOf({ headers, body }: HookRequest, secret: string, now: number): string | undefined {
  const signature = headers['x-slack-signature'] ?? '';
  const timestamp = headers['x-slack-request-timestamp'] ?? '';
  if (!/^v0=[0-9a-f]{64}$/.test(signature) || !/^\d{1,12}$/.test(timestamp)) return 'it has no signature';
  const expected = createHmac('sha256', secret).update(`v0:${timestamp}:`).update(body).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature.slice(3), 'hex'))) return 'its signature is wrong';
  const skew = Math.round(now / 1_000) - Number(timestamp);
  if (skew > toleranceSeconds) return `it is ${skew} s old: a replay, or the clock of this machine is ahead`;
  if (skew < -toleranceSeconds) return `it is from ${-skew} s ahead: the clock of this machine is behind`;
  return undefined;
}

/** A certificate check carries no signature and asks for nothing. What is longer is not: taking it apart takes time. */
function isCertificateCheck(request: HookRequest): boolean {
  return request.body.byteLength <= checkBytesMax && readForm(request)?.get('ssl_check') === '1';
}

function readBody(request: HookRequest): unknown {
  const form = readForm(request);
  if (form === undefined) return parseJson(request.body.toString('utf8'));
  const payload = form.get('payload');
  return payload === null ? Object.fromEntries(form) : parseJson(payload);
}

function readForm({ headers, body }: HookRequest): URLSearchParams | undefined {
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true;
  return isForm ? new URLSearchParams(body.toString('utf8')) : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
