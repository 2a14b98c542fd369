import { z } from 'zod';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { hostedConversation, writeInteraction } from '../hosted/hosted-channel.ts';

/** Names that are safe in a thread key, a path and a terminal. */
const placeName = z.string().regex(/^[A-Za-z0-9._@-]{1,64}$/);

/** What the gateway stores in the inbox when a console client says or presses something. */
export const consoleRawSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('message'),
    /** Chosen by the client and kept when it tries again. */
    key: z.string().min(8).max(64),
    room: placeName,
    thread: placeName.optional(),
    user: z.string().min(1).max(64),
    text: z.string(),
    at: z.iso.datetime(),
  }),
  z.object({
    kind: z.literal('action'),
    key: z.string().min(8).max(64),
    room: placeName,
    thread: placeName.optional(),
    user: z.string().min(1).max(64),
    token: z.string().min(1).max(64),
    messageId: z.string().max(200).optional(),
    at: z.iso.datetime(),
  }),
]);

export type ConsoleRaw = z.infer<typeof consoleRawSchema>;

/** The conversation a room name and an optional thread name stand for. */
export function consoleConversation(place: {
  readonly room: string;
  readonly thread?: string | undefined;
}): Conversation {
  return hostedConversation('console', place);
}

/** The identity of a terminal user. It got here with the operator token, which routing takes for the owner. */
function operatorId(user: string): string {
  return `operator:${user}`;
}

/** Raw event to neutral events; pure, and empty for anything unknown. */
export function normaliseConsole(raw: unknown): readonly InboundEvent[] {
  const event = consoleRawSchema.safeParse(raw).data;
  if (event === undefined) return [];
  const base = {
    conversation: consoleConversation(event),
    actor: {
      externalId: operatorId(event.user),
      displayName: event.user,
      isBot: false,
      isAnonymous: false,
      isOperator: true,
    },
    occurredAt: new Date(event.at),
  };
  if (event.kind === 'action') {
    return [
      {
        ...base,
        ...(event.messageId === undefined ? {} : { messageId: event.messageId }),
        type: 'action',
        token: event.token,
        interactionToken: writeInteraction(event),
      },
    ];
  }
  // A path such as /etc/hosts is not a command: after the name comes a space or nothing.
  const command = /^\/([A-Za-z][A-Za-z0-9_-]{0,31})(?:\s+([\s\S]*))?$/.exec(event.text.trim());
  if (command?.[1] !== undefined) {
    const [, name, args = ''] = command;
    return [{ ...base, messageId: event.key, type: 'command', name: name.toLowerCase(), args: args.trim() }];
  }
  return [{ ...base, messageId: event.key, type: 'message', text: event.text, addressed: 'dm', files: [] }];
}
