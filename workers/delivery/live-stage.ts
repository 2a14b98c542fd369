import { coalesce } from '#core/kit/coalesce.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { CallKind, ChannelSender } from '#core/outbox/channel-sender.ts';
import { type Pace, readPaces, recordThrottled, takeCalls } from '#core/outbox/pace-store.ts';
import { type NewMessage, putMessages } from '#core/outbox/put-messages.ts';
import { isBegun, recordStreams, type StreamedAnswer } from '#core/outbox/stream-store.ts';
import { PreviewPump } from './preview-pump.ts';

/** What is asked of a budget at the same time goes in one statement; so many that one commit carries them. */
const batchMax = 200;
/** An allowance that was found used up is not asked about again for this long. */
const deniedMs = 250;

/**
 * What all live previews of a worker share: when they are shown, what is written for them (in batches), and the pace and
 * budgets they have in common with every other worker.
 */
export class LiveStage {
  readonly log: Log;
  readonly pump = new PreviewPump();
  /** Writes a preview or a progress card, together with those of other turns. */
  readonly put: (message: NewMessage) => Promise<void>;
  /** @returns whether the stream's messages are the answer's now. */
  readonly recordStream: (stream: StreamedAnswer) => Promise<boolean>;
  readonly readPace: (paceKey: string) => Promise<Pace>;
  readonly #db: Db;
  readonly #deniedUntil = new Map<string, number>();
  readonly #takers = new Map<string, (ask: undefined) => Promise<boolean>>();

  constructor(deps: { readonly db: Db; readonly log: Log }) {
    const { db } = deps;
    this.#db = db;
    this.log = deps.log;
    this.put = coalesce<NewMessage, void>(
      async (messages) => {
        await putMessages(db, messages);
        return messages.map(() => undefined);
      },
      { batchMax, key: (message) => message.key },
    );
    this.recordStream = coalesce<StreamedAnswer, boolean>(async (streams) => await recordStreams(db, streams), {
      batchMax,
      key: (stream) => stream.key,
    });
    this.readPace = coalesce<string, Pace>(async (keys) => await readPaces(db, keys), { batchMax });
  }

  /**
   * Whether an account may make one more call of a kind, and have `keptShare` of its allowance left; counted when it
   * may.
   */
  async mayCall(sender: ChannelSender, kind: CallKind, keptShare = 0): Promise<boolean> {
    const budgets = budgetsOf(sender);
    if (budgets[kind] === undefined) return true;
    const accountKey = `${sender.channel}:${sender.account}`;
    const key = `${accountKey}:${kind}:${keptShare}`;
    if ((this.#deniedUntil.get(key) ?? 0) > performance.now()) return false;
    let take = this.#takers.get(key);
    if (take === undefined) {
      take = coalesce<undefined, boolean>(
        async (asks) => {
          const granted = await takeCalls(this.#db, { accountKey, kind, budgets, keptShare }, asks.length);
          if (granted < asks.length) this.#deniedUntil.set(key, performance.now() + deniedMs);
          return asks.map((_, index) => index < granted);
        },
        { batchMax },
      );
      this.#takers.set(key, take);
    }
    return await take(undefined);
  }

  /** Notes for every worker that the platform asked to wait. */
  async noteThrottled(paceKey: string, afterMs: number): Promise<void> {
    await recordThrottled(this.#db, paceKey, afterMs);
  }

  /** Whether an earlier worker on the same turn has shown something under an outbox key. */
  async isBegun(key: string): Promise<boolean> {
    return await isBegun(this.#db, key);
  }
}

function budgetsOf(sender: ChannelSender) {
  const { channel, account } = sender;
  return sender.capabilities({ channel, account, room: '0', kind: 'channel' }).budgets ?? {};
}
