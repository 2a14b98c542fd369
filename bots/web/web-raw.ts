import { z } from 'zod';
import type { InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { hostedConversation, writeInteraction } from '../hosted/hosted-channel.ts';

const fileSchema = z.object({ id: z.uuid(), name: z.string(), mime: z.string(), bytes: z.number().int().min(0) });

const base = {
  /** Chosen by the page and kept when it tries again. */
  key: z.string().min(8).max(64),
  /** The browser's own, decided by the gateway: `operator` or a visitor's random name. */
  room: z.string().regex(/^(?:operator|v[0-9a-f]{32})$/),
  thread: z.string().regex(/^[a-z0-9]{8,40}$/),
  user: z.string().min(1).max(64),
  /** Proven by the browser session when the event was stored. */
  isOperator: z.boolean(),
  at: z.iso.datetime(),
};

/** What the gateway stores in the inbox when somebody does something in the browser. */
export const webRawSchema = z.discriminatedUnion('kind', [
  z.object({ ...base, kind: z.literal('message'), text: z.string(), files: z.array(fileSchema).max(20) }),
  z.object({
    ...base,
    kind: z.literal('action'),
    token: z.string().min(1).max(64),
    messageId: z.string().max(200).optional(),
  }),
  z.object({
    ...base,
    kind: z.literal('form'),
    token: z.string().min(1).max(64),
    values: z.record(z.string().max(64), z.string().max(20_000)),
  }),
  z.object({ ...base, kind: z.literal('stop') }),
]);

export type WebRaw = z.infer<typeof webRawSchema>;

/** What a message shows in the conversation at once. */
export function shownBody(raw: WebRaw): OutboundBody | undefined {
  if (raw.kind !== 'message') return undefined;
  return {
    parts: [
      ...(raw.text === '' ? [] : [{ type: 'markdown' as const, markdown: raw.text }]),
      ...raw.files.map(({ id, name, mime, bytes }) => ({
        type: 'file' as const,
        name,
        mime,
        dataBase64: '',
        blobId: id,
        bytes,
      })),
    ],
  };
}

/** Raw event to neutral events; pure, and empty for anything unknown. */
export function normaliseWeb(raw: unknown): readonly InboundEvent[] {
  const event = webRawSchema.safeParse(raw).data;
  if (event === undefined) return [];
  const common = {
    conversation: hostedConversation('web', event),
    actor: {
      externalId: event.isOperator ? 'operator:browser' : event.room,
      displayName: event.user,
      isBot: false,
      isAnonymous: false,
      isOperator: event.isOperator,
    },
    occurredAt: new Date(event.at),
    interactionToken: writeInteraction(event),
  };
  switch (event.kind) {
    case 'message':
      return [message(event, { ...common, messageId: event.key })];
    case 'action':
      return [
        {
          ...common,
          ...(event.messageId === undefined ? {} : { messageId: event.messageId }),
          type: 'action',
          token: event.token,
        },
      ];
    case 'form':
      return [{ ...common, type: 'form', token: event.token, values: event.values }];
    case 'stop':
      return [{ ...common, type: 'stop' }];
  }
}

function message(
  event: Extract<WebRaw, { kind: 'message' }>,
  common: Pick<InboundEvent, 'conversation' | 'actor' | 'occurredAt' | 'interactionToken' | 'messageId'>,
): InboundEvent {
  const files = event.files.map(({ id, name, mime, bytes }): InboundFile => ({ name, mime, bytes, fetchKey: id }));
  // A path such as /etc/hosts is not a command: after the name comes a space or nothing.
  const [, name, args = ''] = /^\/([A-Za-z][A-Za-z0-9_-]{0,31})(?:\s+([\s\S]*))?$/.exec(event.text.trim()) ?? [];
  if (name === undefined) return { ...common, type: 'message', text: event.text, addressed: 'dm', files };
  return {
    ...common,
    type: 'command',
    name: name.toLowerCase(),
    args: args.trim(),
    ...(files.length === 0 ? {} : { files }),
  };
}
