import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { ConsoleMessage } from '../console-backend.ts';

/** A file as clients see it: its content is fetched on its own. */
interface WireFile {
  readonly type: 'file';
  readonly name: string;
  readonly mime: string;
  readonly bytes: number;
  /** Position in the message, for the files endpoint. */
  readonly index: number;
}

/** A message as the console API sends it. */
export interface WireMessage {
  readonly id: number;
  readonly change: number;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  readonly author: string | undefined;
  readonly parts: readonly (Exclude<OutboundPart, { type: 'file' }> | WireFile)[];
  readonly replyTo: string | undefined;
  readonly draftId: number | undefined;
  readonly revision: number;
  readonly createdAt: string;
  readonly isDeleted: boolean;
}

/** Turns a stored message into its form for clients. */
export function toWire(message: ConsoleMessage): WireMessage {
  const { id, change, messageId, direction, author, revision, isDeleted } = message;
  return {
    id,
    change,
    messageId,
    direction,
    author,
    parts: message.body.parts.map((part, index) =>
      part.type === 'file'
        ? {
            type: 'file',
            name: part.name,
            mime: part.mime,
            bytes: part.bytes ?? Buffer.byteLength(part.dataBase64, 'base64'),
            index,
          }
        : part,
    ),
    replyTo: message.body.replyTo,
    draftId: message.body.draftId,
    revision,
    createdAt: message.createdAt.toISOString(),
    isDeleted,
  };
}
