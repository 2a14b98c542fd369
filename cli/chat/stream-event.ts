import { z } from 'zod';
import { outboundPartSchema } from '#core/outbox/outbound.ts';

const wirePartSchema = z.union([
  z.object({ type: z.literal('file'), name: z.string(), mime: z.string(), bytes: z.number(), index: z.number() }),
  outboundPartSchema,
]);

/** A message of the conversation as the gateway sends it. */
export const chatMessageSchema = z.object({
  change: z.number(),
  messageId: z.string(),
  direction: z.enum(['in', 'out']),
  author: z.string().optional(),
  parts: z.array(wirePartSchema),
  replyTo: z.string().optional(),
  draftId: z.number().optional(),
  revision: z.number(),
  createdAt: z.string(),
  isDeleted: z.boolean(),
});

const turnSchema = z.object({
  sessionId: z.string(),
  turnId: z.string(),
  state: z.enum(['started', 'waiting', 'done', 'failed', 'cancelled', 'absorbed']),
  messageId: z.string().optional(),
  intoTurnId: z.string().optional(),
  waitingFor: z.string().optional(),
  approvalId: z.string().optional(),
});

export type ChatPart = z.infer<typeof wirePartSchema>;
export type ChatMessage = z.infer<typeof chatMessageSchema>;
export type TurnState = z.infer<typeof turnSchema>;

/** What a follower of a conversation is told; the last two are the client's own. */
export type ChatEvent =
  | { readonly type: 'message'; readonly message: ChatMessage }
  | { readonly type: 'draft'; readonly draftId: number; readonly markdown: string; readonly isTail: boolean }
  | { readonly type: 'typing' }
  | { readonly type: 'turn'; readonly turn: TurnState }
  | { readonly type: 'ack'; readonly actionId: string; readonly text?: string | undefined; readonly isAlert: boolean }
  | { readonly type: 'ready' }
  | { readonly type: 'disconnected'; readonly reason: string };

const draftSchema = z.object({ draftId: z.number(), markdown: z.string(), isTail: z.boolean() });
const ackSchema = z.object({ actionId: z.string(), text: z.string().optional(), isAlert: z.boolean().default(false) });

/** Reads one server-sent event; undefined for what this client does not know, so that older clients keep working. */
export function parseChatEvent(event: string, data: string): ChatEvent | undefined {
  const value: unknown = JSON.parse(data);
  switch (event) {
    case 'message': {
      const message = chatMessageSchema.safeParse(value).data;
      return message && { type: 'message', message };
    }
    case 'draft': {
      const draft = draftSchema.safeParse(value).data;
      return draft && { type: 'draft', ...draft };
    }
    case 'turn': {
      const turn = turnSchema.safeParse(value).data;
      return turn && { type: 'turn', turn };
    }
    case 'ack': {
      const ack = ackSchema.safeParse(value).data;
      return ack && { type: 'ack', ...ack };
    }
    case 'typing':
    case 'ready':
      return { type: event };
    default:
      return undefined;
  }
}
