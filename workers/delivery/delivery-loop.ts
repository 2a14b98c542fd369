import { setTimeout as delay } from 'node:timers/promises';
import { coalesce } from '#core/kit/coalesce.ts';
import type { Db } from '#core/kit/database.ts';
import { failpoint } from '#core/kit/failpoint.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelSender, MessageRef, SendFailure, SendProgress } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import {
  type AccountLease,
  claimDeliveries,
  type Delivery,
  nextDueMs,
  paceKey,
  releaseDeliveries,
} from '#core/outbox/outbox-store.ts';
import { paceRules } from '#core/outbox/pace.ts';
import { recordPause, recordThrottled } from '#core/outbox/pace-store.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import {
  type DeliveryOutcome,
  type DeliveryResult,
  recordAccepted,
  recordDeliveries,
  recordPosted,
} from '#core/outbox/record-store.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { withDelayedMark } from './delayed-mark.ts';
import { hashBody } from './hash-body.ts';
import { type FailureNote, judgeFailure } from './judge-failure.ts';
import { unknownNotices } from './unknown-notices.ts';

/** Deliveries leased at once; each is one platform call in flight. */
const inFlightMax = 64;
/** The bell is soft: without one the outbox is looked at this often. */
const pollMs = 1000;
/** Bells that ring closer together than this are answered together: each look costs the database the same. */
const lookGapMs = 8;
/** First pause before an outcome is recorded again; it doubles up to `pollMs`. */
const recordRetryMs = 50;
/** How long an account whose token was refused is left alone before it is tried again. */
const refusedMs = 30_000;
/** How often it is noted that the platform takes what we send. */
const acceptedEveryMs = 10_000;
/** Longest that remembering a posted part may hold up the next part. */
const postedMs = 5_000;

export interface DeliveryLoopDeps {
  readonly db: Db;
  readonly log: Log;
  readonly sender: ChannelSender;
  /** This worker's id; reclaiming asks whether it is alive. */
  readonly owner: string;
  /** Puts stored files into a body before it is sent. */
  readonly hydrate?: (body: OutboundBody, conversation: Conversation) => Promise<OutboundBody>;
  /** The room of a conversation has another id now. */
  readonly moveRoom?: (conversation: Conversation, newRoom: string) => Promise<void>;
  /** Nothing reaches this room any more. */
  readonly noteUnreachable?: (conversation: Conversation, reason: string) => Promise<void>;
  /** The platform refuses our token; said once until it accepts something again. */
  readonly noteRefused?: (reason: string) => Promise<void>;
}

/** Takes messages of one account from the outbox to its platform, in order per thread, paced and retried. */
export class DeliveryLoop {
  readonly #deps: DeliveryLoopDeps;
  readonly #lease: AccountLease;
  readonly #record: (result: DeliveryResult) => Promise<void>;
  readonly #recordPosted: (posted: Parameters<typeof recordPosted>[2][number]) => Promise<void>;
  readonly #inFlight = new Map<string, Promise<void>>();
  #wake: (() => void) | undefined;
  #isNudged = false;
  #isStopping = false;
  /** Whether a claim failed whose rows may be ours all the same. */
  #hasStrays = false;
  #isRefused = false;
  #acceptedAt = 0;
  #lookedAt = 0;

  constructor(deps: DeliveryLoopDeps) {
    this.#deps = deps;
    this.#lease = { channel: deps.sender.channel, account: deps.sender.account, owner: deps.owner };
    this.#record = coalesce<DeliveryResult, void>(
      async (results) => {
        if (await recordDeliveries(deps.db, deps.owner, results)) this.nudge();
        return results.map(() => undefined);
      },
      { batchMax: 100 },
    );
    this.#recordPosted = coalesce<Parameters<typeof recordPosted>[2][number], void>(
      async (posted) => {
        await recordPosted(deps.db, deps.owner, posted);
        return posted.map(() => undefined);
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
    const gapMs = this.#lookedAt + lookGapMs - performance.now();
    if (gapMs > 0) await delay(gapMs);
    this.#lookedAt = performance.now();
    this.#isNudged = false;
    const room = inFlightMax - this.#inFlight.size;
    if (room <= 0) return pollMs;
    const { db, sender } = this.#deps;
    const rules = paceRules(sender);
    if (this.#hasStrays) await releaseDeliveries(db, this.#lease, [...this.#inFlight.keys()]);
    this.#hasStrays = true;
    const deliveries = await claimDeliveries(db, this.#lease, { rowsMax: room, rules });
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
    if (this.#isNudged) return 0;
    const dueMs = await nextDueMs(db, this.#lease, rules);
    // What is due and was not leased waits for a call budget or for another worker's call.
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
    const { outcome, note, isCalled } = await this.#attempt(delivery);
    failpoint('delivery.sent');
    if (note !== undefined) await this.#heed(delivery, note);
    await this.#recordSurely(delivery, outcome, isCalled);
    if (outcome.state === 'sent') return await this.#noteAccepted(isCalled);
    this.#deps.log.warn(
      { outboxId: delivery.id, threadKey: delivery.threadKey, attempts: delivery.attempts, outcome },
      'message was not delivered',
    );
  }

  /**
   * Records the outcome however long the database is away: a row that stays `sending` under a living owner would hold
   * its thread for ever. When the worker stops meanwhile, the row is reclaimed by another.
   */
  async #recordSurely(delivery: Delivery, outcome: DeliveryOutcome, isCalled: boolean): Promise<void> {
    const { db, log, sender } = this.#deps;
    const pace = isCalled ? paceKey(delivery.conversation, sender.capabilities(delivery.conversation)) : undefined;
    for (let waitMs = recordRetryMs; ; waitMs = Math.min(waitMs * 2, pollMs)) {
      try {
        // Before the outcome, which ends the delivery: after a crash between the two it is found again, and so is this.
        if (outcome.state === 'unknown') await putMessages(db, unknownNotices(delivery));
        await this.#record({ id: delivery.id, revision: delivery.revision, outcome, paceKey: pace });
        return;
      } catch (err) {
        log.warn({ err, outboxId: delivery.id }, 'outcome of a delivery could not be recorded');
        if (this.#isStopping) return;
        await delay(waitMs);
      }
    }
  }

  async #attempt(
    delivery: Delivery,
  ): Promise<{ readonly outcome: DeliveryOutcome; readonly note?: FailureNote; readonly isCalled: boolean }> {
    const { sender, log } = this.#deps;
    const hash = hashBody(delivery.body);
    if (delivery.platformIds !== undefined && delivery.sentHash === hash && delivery.postedIds.length === 0) {
      return { outcome: { state: 'sent', platformIds: delivery.platformIds, hash }, isCalled: false };
    }
    try {
      failpoint('delivery.claimed');
      const ref = await this.#call(delivery);
      return { outcome: { state: 'sent', platformIds: ref.ids, hash }, isCalled: true };
    } catch (err) {
      const verdict = judgeFailure(delivery, classify(sender, err), sender.capabilities(delivery.conversation));
      if (verdict.outcome.state === 'sent') return { outcome: { ...verdict.outcome, hash }, isCalled: true };
      if (verdict.outcome.state === 'dead') {
        log.error({ err, outboxId: delivery.id, threadKey: delivery.threadKey }, 'message cannot be delivered');
      }
      return { ...verdict, isCalled: true };
    }
  }

  async #call(delivery: Delivery): Promise<MessageRef> {
    const { sender, hydrate } = this.#deps;
    const { conversation, id, platformIds, postedIds } = delivery;
    const marked = withDelayedMark(delivery);
    const body = hydrate === undefined ? marked : await hydrate(marked, conversation);
    const progress = this.#progressOf(delivery, []);
    if (platformIds !== undefined) {
      return await sender.edit(conversation, { ids: [...platformIds, ...postedIds] }, body, id, progress);
    }
    // What an earlier try has posted says what the message said then.
    if (postedIds.length > 0 && delivery.postedRevision !== delivery.revision) {
      return await sender.edit(conversation, { ids: postedIds }, body, id, progress);
    }
    if (delivery.unsureMs !== undefined && sender.findSent !== undefined) {
      const found = await sender.findSent(conversation, id);
      if (found !== undefined && found.ids.length > 0)
        return await sender.edit(conversation, found, body, id, progress);
    }
    const send = async (what: OutboundBody) =>
      await sender.send(conversation, what, id, this.#progressOf(delivery, postedIds));
    try {
      return await send(body);
    } catch (err) {
      if (body.interactionToken === undefined || classify(sender, err).kind !== 'expired') throw err;
      // The platform's own reply to a command is not possible any more; the words still are.
      const { interactionToken: _, ...plain } = body;
      return await send(plain);
    }
  }

  #progressOf(delivery: Delivery, posted: readonly string[]): SendProgress {
    const { id, revision } = delivery;
    return {
      posted,
      onPosted: async (platformId) => {
        // A database that is away must not make the platform call look failed: the parts that follow are what counts.
        const limit = delay(postedMs, undefined, { ref: false });
        await Promise.race([this.#recordPosted({ id, revision, platformId }).catch(() => undefined), limit]);
      },
    };
  }

  /** Acts on what a failure says about more than its own message. */
  async #heed(delivery: Delivery, note: FailureNote): Promise<void> {
    const { db, log, sender, moveRoom, noteUnreachable, noteRefused } = this.#deps;
    const { conversation } = delivery;
    const account = `${sender.channel}:${sender.account}`;
    try {
      switch (note.kind) {
        case 'throttled': {
          const key = note.scope === 'account' ? account : paceKey(conversation, sender.capabilities(conversation));
          await recordThrottled(db, key, note.afterMs);
          return;
        }
        case 'auth':
          await recordPause(db, account, refusedMs);
          if (this.#isRefused) return;
          this.#isRefused = true;
          log.error({ account, reason: note.reason }, 'the platform refuses our token; deliveries wait');
          await noteRefused?.(note.reason);
          return;
        case 'moved':
          await moveRoom?.(conversation, note.newRoom);
          return;
        case 'unreachable':
          await noteUnreachable?.(conversation, note.reason);
      }
    } catch (err) {
      log.warn(
        { err, outboxId: delivery.id, note: note.kind },
        'consequence of a failed delivery could not be recorded',
      );
    }
  }

  async #noteAccepted(isCalled: boolean): Promise<void> {
    if (!isCalled) return;
    this.#isRefused = false;
    const now = performance.now();
    if (this.#acceptedAt !== 0 && now - this.#acceptedAt < acceptedEveryMs) return;
    this.#acceptedAt = now;
    const { channel, account } = this.#lease;
    await recordAccepted(this.#deps.db, `${channel}:${account}`).catch(() => undefined);
  }
}

/** A sender that cannot say what went wrong must not stop the loop. */
function classify(sender: ChannelSender, err: unknown): SendFailure {
  try {
    return sender.classify(err);
  } catch {
    return { kind: 'bad_format', reason: 'the channel could not read its own failure' };
  }
}
