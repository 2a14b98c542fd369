import { z } from 'zod';
import type { Clock } from '#core/kit/clock.ts';
import type { MessageRef } from '#core/outbox/channel-sender.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { SlackApi } from './slack-api.ts';

const eventType = 'switchyard_message';
/** How far back an own message is looked for, and in how many pages at most. */
const lookBackMs = 24 * 3_600_000;
const pageSize = 200;
const pagesMax = 5;

const pageSchema = z.object({
  messages: z.array(
    z.object({
      ts: z.string(),
      metadata: z
        .object({ event_type: z.string(), event_payload: z.record(z.string(), z.unknown()) })
        .nullish()
        .catch(undefined),
    }),
  ),
  response_metadata: z.object({ next_cursor: z.string().nullish() }).nullish(),
});

/** What a message of ours carries so that it can be found again. */
export function metadataOf(key: string, part: number): Record<string, unknown> {
  return { event_type: eventType, event_payload: { outbox_id: key, part } };
}

/**
 * The messages of a send whose outcome is unknown, in their order; undefined when Slack has none of them.
 * @throws what `SlackApi.call` throws.
 */
export async function findSentMessages(
  { api, clock }: { readonly api: SlackApi; readonly clock: Clock },
  conversation: Conversation,
  key: string,
): Promise<MessageRef | undefined> {
  const { room, thread } = conversation;
  const found = new Map<number, string>();
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const answer = await api.call(thread === undefined ? 'conversations.history' : 'conversations.replies', {
      channel: room,
      ...(thread === undefined ? {} : { ts: thread }),
      oldest: ((clock.now().getTime() - lookBackMs) / 1_000).toFixed(6),
      limit: pageSize,
      include_all_metadata: true,
      ...(cursor === undefined ? {} : { cursor }),
    });
    const { messages, response_metadata: more } = pageSchema.parse(answer);
    for (const { ts, metadata } of messages) {
      const payload = metadata?.event_type === eventType ? metadata.event_payload : undefined;
      if (payload?.['outbox_id'] === key) found.set(Number(payload['part'] ?? 0), ts);
    }
    cursor = more?.next_cursor ?? undefined;
    if (cursor === undefined || cursor === '') break;
  }
  if (found.size === 0) return undefined;
  return { ids: [...found].sort(([a], [b]) => a - b).map(([, ts]) => ts) };
}
