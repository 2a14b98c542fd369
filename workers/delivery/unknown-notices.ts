import type { Delivery } from '#core/outbox/outbox-store.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';

const unknownSuffix = ':unknown';

/**
 * Says that a message may be missing instead of repeating it blindly: the person decides. Nobody is told about such a
 * notice itself, nor about a live message whose next revision says it all again.
 */
export function unknownNotices(delivery: Pick<Delivery, 'key' | 'conversation' | 'importance'>): readonly NewMessage[] {
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
