import { sha256 } from '../kit/ids.ts';

/** What the outside can be told. */
export const webhookEvents = [
  'turn.done',
  'turn.failed',
  'turn.cancelled',
  'approval.requested',
  'approval.decided',
  'approval.stuck',
] as const;

export type WebhookEvent = (typeof webhookEvents)[number];

/** Somebody outside who wants to be told. */
export interface WebhookEndpoint {
  readonly url: string;
  readonly events: readonly WebhookEvent[];
  /** What each call is signed with. */
  readonly secret: string;
  /** Whether it may be an address of a private network. */
  readonly allowsPrivate: boolean;
}

/** Stands for an endpoint wherever its address must not: addresses of web hooks are often secrets themselves. */
export function endpointId(url: string): string {
  return sha256(`webhook:${url}`).slice(0, 16);
}

/** A call to the outside that is to be made now. */
export interface OutgoingCall {
  readonly id: string;
  readonly kind: 'webhook' | 'email';
  /** The endpoint's id, or the address of an e-mail. */
  readonly target: string;
  /** The same for every try and every receiver, so that a receiver can tell a repetition. */
  readonly eventId: string;
  readonly event: string;
  readonly payload: unknown;
  /** 1 for the first try. */
  readonly attempts: number;
  readonly createdAt: Date;
}

/** A call as an operator sees it. */
export interface OutgoingRecord extends Omit<OutgoingCall, 'payload'> {
  readonly state: 'pending' | 'delivered' | 'dead';
  readonly lastError: string | undefined;
  readonly notBefore: Date;
  readonly closedAt: Date | undefined;
  /** Host of a web hook; undefined for an e-mail or an endpoint that is not set up any more. */
  readonly host: string | undefined;
}

/** How a try ended. */
export type CallOutcome =
  | { readonly state: 'delivered' }
  | { readonly state: 'retry'; readonly reason: string }
  | { readonly state: 'dead'; readonly reason: string };

/** Tries before a call is given up for the operator to see; with the pauses below that is about four hours. */
export const attemptsMax = 9;
const pauseMs = 10_000;
const pauseMaxMs = 2 * 3_600_000;

/** Pause after a failed try, in milliseconds. */
export function retryPauseMs(attempts: number): number {
  return Math.min(pauseMs * 3 ** (attempts - 1), pauseMaxMs);
}
