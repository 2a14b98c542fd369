import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { isSameSecret } from '../browser-session.ts';
import type { ConsoleBackend } from '../console-backend.ts';
import { sendEvents } from '../send-events.ts';
import type { StreamDeps } from '../stream-conversation.ts';
import { toWire } from './console-wire.ts';

/** Longest text of one message, in UTF-8 bytes. */
const textBytesMax = 1_000_000;
/** The same as JSON, where a character may be escaped to six. */
const bodyBytesMax = 4 * 1024 * 1024;
const historyRowsMax = 200;
const streamsMax = 64;

const placeSchema = z.object({
  room: z.string().regex(/^[A-Za-z0-9._@-]{1,64}$/),
  thread: z
    .string()
    .regex(/^[A-Za-z0-9._@-]{1,64}$/)
    .optional(),
});

const cursor = z.coerce
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1);

/** The console API: what a terminal says, presses, reads and follows. Every request carries the operator token. */
export function consoleRoutes(
  app: FastifyInstance,
  deps: StreamDeps & { readonly console: ConsoleBackend },
  options: { readonly operatorToken: string; readonly heartbeatMs: number; readonly signal: AbortSignal },
): void {
  let streams = 0;
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('cache-control', 'no-store');
    const [scheme, token] = (request.headers.authorization ?? '').split(' ');
    if (scheme?.toLowerCase() !== 'bearer' || !isSameSecret(token ?? '', options.operatorToken)) {
      throw new AppError('request.unauthenticated', 'The operator token is missing or wrong.', {
        mend: 'It is in the file operator-token of the data directory; send it as "Authorization: Bearer <token>".',
      });
    }
  });

  for (const kind of ['message', 'action'] as const) {
    app.post(`/api/console/${kind}s`, { bodyLimit: bodyBytesMax }, async (request) => {
      const raw = deps.console.parse({ ...Object(request.body), kind }, deps.clock.now());
      if (raw === undefined) {
        throw new AppError('request.invalid', `This is not a console ${kind}.`, {
          mend:
            kind === 'message'
              ? 'It has key (8 to 64 characters), room, user and text.'
              : 'It has key (8 to 64 characters), room, user and token.',
        });
      }
      const { text } = Object(request.body) as { text?: unknown };
      if (typeof text === 'string' && Buffer.byteLength(text) > textBytesMax) {
        throw new AppError('message.too_large', `The text has ${Buffer.byteLength(text)} bytes.`, {
          mend: 'Send at most 1 MB of text; put more into a file.',
        });
      }
      await deps.console.submit(raw);
      return { isAccepted: true };
    });
  }

  app.get('/api/console/history', async (request) => {
    const query = parse(
      placeSchema.extend({ limit: cursor.min(1).max(historyRowsMax).default(30), before: cursor.optional() }),
      request,
    );
    const { messages, change } = await deps.console.history(query, { rowsMax: query.limit, beforeId: query.before });
    return { messages: messages.map(toWire), change };
  });

  app.get('/api/console/commands', async () => ({ commands: deps.console.commands() }));

  app.get('/api/console/files', async (request, reply) => {
    const query = parse(placeSchema.extend({ message: z.string().max(200), index: cursor }), request);
    const part = (await deps.console.message(query, query.message))?.body.parts[query.index];
    const bytes = part?.type === 'file' ? await deps.console.file(part) : undefined;
    if (bytes === undefined)
      throw new AppError('request.not_found', 'There is no such file, or it is not kept any more.');
    // Never by its own type: a page sent by an agent must not run as ours.
    return await reply.type('application/octet-stream').send(bytes);
  });

  app.get('/api/console/stream', async (request, reply) => {
    const query = parse(placeSchema.extend({ since: cursor.optional() }), request);
    const lastId = cursor.safeParse(request.headers['last-event-id']).data;
    const since = lastId ?? query.since ?? (await deps.console.history(query, { rowsMax: 1 })).change;
    if (streams >= streamsMax) {
      throw new AppError('request.too_many', `${streamsMax} terminals are connected already.`, {
        mend: 'Close one of them.',
      });
    }
    streams += 1;
    try {
      const source = {
        key: deps.console.keyOf(query),
        changes: async (from: number, rowsMax: number) =>
          (await deps.console.changes(query, from, rowsMax)).map(toWire),
        subscribe: (listener: Parameters<typeof deps.console.subscribe>[1]) => deps.console.subscribe(query, listener),
      };
      const { heartbeatMs, signal } = options;
      await sendEvents(deps, reply, { source, since, heartbeatMs, signal });
    } finally {
      streams -= 1;
    }
  });
}

function parse<Schema extends z.ZodType>(schema: Schema, request: FastifyRequest): z.output<Schema> {
  const result = schema.safeParse(request.query);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new AppError('request.invalid', `The parameter ${issue?.path.join('.')} is missing or wrong.`, {
    mend: issue?.message ?? 'Check the address.',
  });
}
