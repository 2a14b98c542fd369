import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '#core/kit/clock.ts';
import { coalesce } from '#core/kit/coalesce.ts';
import type { Db } from '#core/kit/database.ts';
import { failpoint } from '#core/kit/failpoint.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import {
  claimDeliveries,
  type Delivery,
  type DeliveryOutcome,
  type DeliveryResult,
  nextDueMs,
  recordDeliveries,
  releaseDeliveries,
} from '#core/outbox/outbox-store.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { Conversation } from '#core/sessions/origin.ts';

/** Deliveries leased at once; each is one platform call in flight. */
const inFlightMax = 64;
/** The bell is soft: without one the outbox is looked at this often. */
const pollMs = 1000;
/** A message that keeps failing is given up, for the operator to see, after so many tries and no sooner than this. */
const attemptsMax = 12;
const giveUpMs = 24 * 3_600_000;
const retryBaseMs = 500;
const retryMaxMs = 60_000;
/** First pause before an outcome is recorded again; it doubles up to `pollMs`. */
const recordRetryMs = 50;

export interface DeliveryLoopDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  readonly sender: ChannelSender;
  /** This worker's id; reclaiming asks whether it is alive. */
  readonly owner: string;
}

/** Takes messages of one account from the outbox to its platform, in order per thread, paced and retried. */
export class DeliveryLoop {
  readonly #deps: DeliveryLoopDeps;
  readonly #record: (result: DeliveryResult) => Promise<void>;
  readonly #inFlight = new Map<string, Promise<void>>();
  #wake: (() => void) | undefined;
  #isNudged = false;
  #isStopping = false;
  /** Whether a claim failed whose rows may be ours all the same. */
  #hasStrays = false;

  constructor(deps: DeliveryLoopDeps) {
    this.#deps = deps;
    this.#record = coalesce<DeliveryResult, void>(
      async (results) => {
        if (await recordDeliveries(deps.db, deps.owner, results)) this.nudge();
        return results.map(() => undefined);
      },
      { batchMax: 100 },
    );
  }

  /** Says that something may be due now. */
  nudge(): void {
    this.#isNudged = true;
    this.#wake?.();
  }

  /** Delivers until the signal aborts, then waits for what is in flight. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => {
      this.#isStopping = true;
      this.#wake?.();
    };
    signal.addEventListener('abort', stop);
    try {
      while (!signal.aborted) {
        const waitMs = await this.#deliverDue().catch((err: unknown) => {
          this.#deps.log.warn({ err }, 'outbox could not be read');
          return pollMs;
        });
        if (waitMs > 0 && !signal.aborted) await this.#idle(waitMs);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await Promise.allSettled(this.#inFlight.values());
    }
  }

  /** @returns how long to wait before looking again, in milliseconds. */
  async #deliverDue(): Promise<number> {
    this.#isNudged = false;
    const room = inFlightMax - this.#inFlight.size;
    if (room <= 0) return pollMs;
    const { db, sender, owner } = this.#deps;
    const mine = { channel: sender.channel, account: sender.account, owner };
    if (this.#hasStrays) await releaseDeliveries(db, { ...mine, inFlight: [...this.#inFlight.keys()] });
    this.#hasStrays = true;
    const deliveries = await claimDeliveries(db, { ...mine, rowsMax: room, intervalsMs: intervalsOf(sender) });
    this.#hasStrays = false;
    for (const delivery of deliveries) {
      const work = this.#deliver(delivery).finally(() => {
        const wasFull = this.#inFlight.size >= inFlightMax;
        this.#inFlight.delete(delivery.id);
        if (wasFull) this.nudge();
      });
      this.#inFlight.set(delivery.id, work);
    }
    if (deliveries.length === room) return 0;
    if (this.#inFlight.size > 0 || this.#isNudged) return pollMs;
    const dueMs = await nextDueMs(db, sender.channel, sender.account);
    // A head that is due but held back by pacing is looked at again after a short while.
    return dueMs === undefined ? pollMs : Math.min(pollMs, Math.max(dueMs, 25));
  }

  async #idle(waitMs: number): Promise<void> {
    if (this.#isNudged) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#isNudged) this.#wake();
    });
    this.#wake = undefined;
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const outcome = await this.#attempt(delivery);
    failpoint('delivery.sent');
    await this.#recordSurely(delivery, outcome);
    if (outcome.state === 'sent') return;
    this.#deps.log.warn(
      { outboxId: delivery.id, threadKey: delivery.threadKey, attempts: delivery.attempts, outcome },
      'message was not delivered',
    );
  }

  /**
   * Records the outcome however long the database is away: a row that stays `sending` under a living owner would hold
   * its thread for ever. When the worker stops meanwhile, the row is reclaimed by another.
   */
  async #recordSurely(delivery: Delivery, outcome: DeliveryOutcome): Promise<void> {
    const { db, log } = this.#deps;
    for (let waitMs = recordRetryMs; ; waitMs = Math.min(waitMs * 2, pollMs)) {
      try {
        // Before the outcome, which ends the delivery: after a crash between the two it is found again, and so is this.
        if (outcome.state === 'unknown') await putMessages(db, unknownNotices(delivery));
        await this.#record({ id: delivery.id, revision: delivery.revision, outcome });
        return;
      } catch (err) {
        log.warn({ err, outboxId: delivery.id }, 'outcome of a delivery could not be recorded');
        if (this.#isStopping) return;
        await delay(waitMs);
      }
    }
  }

  async #attempt(delivery: Delivery): Promise<DeliveryOutcome> {
    const { sender } = this.#deps;
    const { conversation, body, platformIds, id } = delivery;
    try {
      failpoint('delivery.claimed');
      const ref =
        platformIds === undefined
          ? await sender.send(conversation, body, id)
          : await sender.edit(conversation, { ids: platformIds }, body, id);
      return { state: 'sent', platformIds: ref.ids };
    } catch (err) {
      return this.#judge(delivery, err);
    }
  }

  #judge(delivery: Delivery, err: unknown): DeliveryOutcome {
    const { sender, log } = this.#deps;
    const failure = sender.classify(err);
    const isEdit = delivery.platformIds !== undefined;
    const reason = `${failure.kind}: ${failure.reason}`;
    const backoffMs = failure.afterMs ?? Math.min(retryBaseMs * 2 ** (delivery.attempts - 1), retryMaxMs);
    const again = (forgetIds = false): DeliveryOutcome =>
      delivery.attempts >= attemptsMax && delivery.ageMs >= giveUpMs
        ? { state: 'dead', reason }
        : { state: 'retry', afterMs: backoffMs, reason, forgetIds };
    switch (failure.kind) {
      case 'no_op':
        return { state: 'sent', platformIds: delivery.platformIds ?? [] };
      case 'throttled':
        // Being asked to wait is not a failed try: the message itself is fine.
        return { state: 'retry', afterMs: backoffMs, reason };
      case 'retry':
      case 'conflict':
      case 'auth':
        return again();
      case 'gone':
        // The message was deleted by someone: what it had to say is posted anew.
        return isEdit ? again(true) : { state: 'dead', reason };
      case 'unknown_outcome':
        if (isEdit || sender.capabilities(delivery.conversation).idempotentSend !== 'none') return again();
        return { state: 'unknown', reason };
      case 'unreachable':
      case 'expired':
      case 'moved':
      case 'too_big':
      case 'bad_format':
        log.error({ err, outboxId: delivery.id, threadKey: delivery.threadKey }, 'message cannot be delivered');
        return { state: 'dead', reason };
    }
  }
}

function intervalsOf(sender: ChannelSender): Record<Conversation['kind'], number> {
  const of = (kind: Conversation['kind']) =>
    sender.capabilities({ channel: sender.channel, account: sender.account, room: '0', kind }).sendIntervalMs;
  return { dm: of('dm'), group: of('group'), channel: of('channel') };
}

const unknownSuffix = ':unknown';

/**
 * Says that a message may be missing instead of repeating it blindly: the person decides. Nobody is told about such a
 * notice itself, nor about a live message whose next revision says it all again.
 */
export function unknownNotices(
  delivery: Pick<Delivery, 'key' | 'conversation' | 'importance'>,
): Parameters<typeof putMessages>[1][number][] {
  if (delivery.importance === 'progress' || delivery.key.endsWith(unknownSuffix)) return [];
  return [
    {
      key: `${delivery.key}${unknownSuffix}`,
      conversation: delivery.conversation,
      importance: 'notice',
      body: {
        parts: [
          {
            type: 'notice',
            level: 'warn',
            markdown: 'A message to you may have been lost on its way. Send /resend to get it again.',
          },
        ],
      },
    },
  ];
}
