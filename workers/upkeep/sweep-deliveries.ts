import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { reclaimDeliveries } from '#core/outbox/reclaim-store.ts';
import { unknownNotices } from '../delivery/unknown-notices.ts';

/** Takes back what a dead worker was sending; where the outcome is unknown, the thread is told. */
export async function sweepDeliveries(
  deps: { readonly db: Db; readonly log: Log },
  sender: ChannelSender,
): Promise<void> {
  const { channel, account } = sender;
  const capabilities = sender.capabilities({ channel, account, room: '0', kind: 'dm' });
  // One commit: a notice that is lost to a crash would leave the person without the message and without a word.
  await deps.db.transaction().execute(async (tx) => {
    const unknown = await reclaimDeliveries(tx, { channel, account, capabilities });
    for (const delivery of unknown) {
      deps.log.warn({ outboxId: delivery.id, threadKey: delivery.threadKey }, 'outcome of a delivery is unknown');
    }
    await putMessages(tx, unknown.flatMap(unknownNotices));
  });
}
