import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { reclaimDeliveries } from '#core/outbox/outbox-store.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { isUnknownNotice, unknownNotice } from '../delivery/delivery-loop.ts';

/** Takes back what a dead worker was sending; where the outcome is unknown, the thread is told. */
export async function sweepDeliveries(
  deps: { readonly db: Db; readonly log: Log },
  sender: ChannelSender,
): Promise<void> {
  const { idempotentSend } = sender.capabilities({
    channel: sender.channel,
    account: sender.account,
    room: '0',
    kind: 'dm',
  });
  const unknown = await reclaimDeliveries(deps.db, {
    channel: sender.channel,
    account: sender.account,
    isRepeatSafe: idempotentSend !== 'none',
  });
  for (const delivery of unknown) {
    deps.log.warn({ outboxId: delivery.id, threadKey: delivery.threadKey }, 'outcome of a delivery is unknown');
    if (!isUnknownNotice(delivery.key)) await putMessages(deps.db, [unknownNotice(delivery)]);
  }
}
