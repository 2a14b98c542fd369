import { z } from 'zod';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';

/** The account name: there is one folder. */
export const fileAccount = 'local';

/** Names that are safe in a thread key and a path. */
const placeName = z.string().regex(/^[A-Za-z0-9._@-]{1,64}$/, 'must be 1 to 64 letters, digits or ._@-');

const place = {
  room: placeName.default('main'),
  thread: placeName.optional(),
  user: z.string().min(1).max(64).default('file'),
  /** The writer's own: a line with an id that was there before does nothing. */
  id: z
    .string()
    .regex(/^[\w.:@-]{1,100}$/, 'must be 1 to 100 letters, digits or _.:@-')
    .optional(),
};

/** One line of `in.jsonl`. */
export const fileLineSchema = z.discriminatedUnion('type', [
  z.strictObject({
    ...place,
    type: z.literal('message'),
    text: z.string().max(200_000).default(''),
    /** Paths below the folder `files`. */
    files: z
      .array(z.strictObject({ path: z.string().min(1).max(1_000), name: z.string().min(1).max(500).optional() }))
      .max(20)
      .default([]),
  }),
  z.strictObject({ ...place, type: z.literal('action'), token: z.string().min(1).max(64) }),
  z.strictObject({
    ...place,
    type: z.literal('form'),
    token: z.string().min(1).max(64),
    values: z.record(z.string().max(64), z.string().max(20_000)),
  }),
  z.strictObject({ ...place, type: z.literal('stop') }),
]);

/** What is stored in the inbox: the line, and where and when it was read. */
const fileRawSchema = z.object({ line: fileLineSchema, key: z.string(), at: z.iso.datetime() });

/** The conversation a line stands in. */
export function fileConversation(where: { readonly room: string; readonly thread?: string | undefined }): Conversation {
  return {
    channel: 'file',
    account: fileAccount,
    room: where.room,
    ...(where.thread === undefined ? {} : { thread: where.thread }),
    kind: 'dm',
  };
}

/** Raw event to neutral events; pure, and empty for anything unknown. */
export function normaliseFile(raw: unknown): readonly InboundEvent[] {
  const parsed = fileRawSchema.safeParse(raw).data;
  if (parsed === undefined) return [];
  const { line, key, at } = parsed;
  const base = {
    conversation: fileConversation(line),
    // Who may write into the folder is the gateway's own user: the channel refuses any other folder.
    actor: {
      externalId: `operator:${line.user}`,
      displayName: line.user,
      isBot: false,
      isAnonymous: false,
      isOperator: true,
    },
    occurredAt: new Date(at),
    messageId: key,
    interactionToken: JSON.stringify({ room: line.room, thread: line.thread, key }),
  };
  switch (line.type) {
    case 'message': {
      const files = line.files.map(({ path, name }) => ({ name: name ?? path, fetchKey: path }));
      // A path such as /etc/hosts is not a command: after the name comes a space or nothing.
      const [, command, args = ''] = /^\/([A-Za-z][A-Za-z0-9_-]{0,31})(?:\s+([\s\S]*))?$/.exec(line.text.trim()) ?? [];
      return command === undefined
        ? [{ ...base, type: 'message', text: line.text, addressed: 'dm', files }]
        : [
            {
              ...base,
              type: 'command',
              name: command.toLowerCase(),
              args: args.trim(),
              ...(files.length === 0 ? {} : { files }),
            },
          ];
    }
    case 'action':
      return [{ ...base, type: 'action', token: line.token }];
    case 'form':
      return [{ ...base, type: 'form', token: line.token, values: line.values }];
    case 'stop':
      return [{ ...base, type: 'stop' }];
  }
}
