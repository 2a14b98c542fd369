import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toStorableJson } from '../kit/json.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import type { Importance, OutboundBody } from './outbound.ts';

/** A message to be said in a chat. The same `key` again revises the message instead of adding one. */
export interface NewMessage {
  readonly key: string;
  readonly conversation: Conversation;
  readonly importance: Importance;
  readonly body: OutboundBody;
  readonly sessionId?: string;
  readonly turnId?: string;
  /** False while a live message is still being written. */
  readonly isFinal?: boolean;
  /** Not worth saying after this many milliseconds. */
  readonly validMs?: number;
}

/** A message in the form the `outbox_put` function reads. */
export function toOutboxItem(message: NewMessage): Record<string, unknown> {
  const { channel, account, space, room, thread, kind } = message.conversation;
  return {
    id: newId(),
    key: message.key,
    sessionId: message.sessionId ?? null,
    turnId: message.turnId ?? null,
    conversation: { channel, account, space, room, thread, kind },
    threadKey: threadKey(message.conversation),
    importance: message.importance,
    body: message.body,
    isFinal: message.isFinal ?? true,
    expiresAt: message.validMs === undefined ? null : new Date(Date.now() + message.validMs).toISOString(),
  };
}

/** Writes messages in the caller's transaction; they are delivered only if it commits. */
export async function putMessages(db: Db | Tx, messages: readonly NewMessage[]): Promise<void> {
  if (messages.length === 0) return;
  await sql`select outbox_put(${toStorableJson(messages.map(toOutboxItem))}::jsonb)`.execute(db);
}
