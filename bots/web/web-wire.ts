import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { HostedMessage } from '../hosted/hosted-event.ts';
import { type DocumentNode, renderNodes } from '../markdown/render-nodes.ts';

type WirePart =
  | { readonly type: 'text'; readonly nodes: readonly DocumentNode[] }
  | { readonly type: 'notice'; readonly level: string; readonly nodes: readonly DocumentNode[] }
  | {
      readonly type: 'file';
      readonly name: string;
      readonly mime: string;
      readonly bytes: number;
      /** Position in the message, for the address of its content. */
      readonly index: number;
    }
  | Exclude<OutboundPart, { type: 'markdown' | 'notice' | 'code' | 'file' }>;

/** A message as the page gets it. */
export interface WireMessage {
  readonly [more: string]: unknown;
  /** The cursor for older history. */
  readonly id: number;
  readonly change: number;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  readonly parts: readonly WirePart[];
  readonly draftId: number | undefined;
  readonly priority: string | undefined;
  readonly revision: number;
  readonly at: string;
  readonly isDeleted: boolean;
}

/** Turns a stored message into its form for the page. */
export function toWire(message: HostedMessage): WireMessage {
  const { id, change, messageId, direction, revision, isDeleted, body } = message;
  return {
    id,
    change,
    messageId,
    direction,
    parts: body.parts.map((part, index) => toWirePart(part, index, direction)),
    draftId: body.draftId,
    priority: body.priority,
    revision,
    at: message.createdAt.toISOString(),
    isDeleted,
  };
}

function toWirePart(part: OutboundPart, index: number, direction: 'in' | 'out'): WirePart {
  switch (part.type) {
    case 'markdown':
      // What a person typed is shown as they typed it.
      return { type: 'text', nodes: direction === 'in' ? [part.markdown] : renderNodes(part.markdown) };
    case 'notice':
      return { type: 'notice', level: part.level, nodes: renderNodes(part.markdown) };
    case 'code':
      return {
        type: 'text',
        nodes: [{ t: 'pre', c: [part.text], ...(part.language === undefined ? {} : { lang: part.language }) }],
      };
    case 'file':
      return {
        type: 'file',
        name: part.name,
        mime: part.mime,
        bytes: part.bytes ?? Buffer.byteLength(part.dataBase64, 'base64'),
        index,
      };
    default:
      return part;
  }
}
