/**
 * A platform message as it is remembered in a `MessageRef`: its number, and what the Bot API wants to know besides to
 * find and edit it. Plain messages are remembered by their number alone, so that replies to them are recognised.
 */
export interface PlatformId {
  readonly kind: 'text' | 'file' | 'ephemeral';
  readonly messageId: number;
  /** Where it is, when that is not the conversation itself. */
  readonly chatId?: number;
  /** Who alone sees an ephemeral message. */
  readonly receiver?: number;
}

export function formatId(id: PlatformId): string {
  if (id.kind === 'ephemeral') return `eph:${id.receiver ?? 0}:${id.messageId}`;
  const { kind, messageId, chatId } = id;
  if (kind === 'file') return chatId === undefined ? `file:${messageId}` : `file:${messageId}:${chatId}`;
  return chatId === undefined ? String(messageId) : `in:${chatId}:${messageId}`;
}

/** @returns a message number that never was for anything else. */
export function parseId(text: string): PlatformId {
  const [head = '', second, third] = text.split(':');
  if (head === 'eph') return { kind: 'ephemeral', receiver: toNumber(second), messageId: toNumber(third) };
  if (head === 'file') {
    return { kind: 'file', messageId: toNumber(second), ...(third === undefined ? {} : { chatId: toNumber(third) }) };
  }
  if (head === 'in') return { kind: 'text', chatId: toNumber(second), messageId: toNumber(third) };
  return { kind: 'text', messageId: toNumber(text) };
}

function toNumber(text: string | undefined): number {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : 0;
}
