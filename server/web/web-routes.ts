import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { type BrowserSessions, sessionCookie } from '../browser-session.ts';
import type { ConsoleNote } from '../console-backend.ts';
import { sendEvents } from '../send-events.ts';
import type { StreamDeps } from '../stream-conversation.ts';
import { chatPage } from './chat-page.ts';
import { openVisitors, visitorCookie } from './visitors.ts';
import type { WebBackend, WebVisitor } from './web-backend.ts';

/** The room of whoever is logged in, in whichever browser. */
const operatorRoom = 'operator';
/** Longest text of one message, in UTF-8 bytes; JSON may escape a character to six. */
const textBytesMax = 200_000;
const historyRowsMax = 100;
/** Open streams in all, and of one browser (or of all browsers of the operator). */
const streamsMax = 500;
const ownStreamsMax = 30;
/** Open streams of browsers of people we do not know: in all, and of one; names cost them nothing. */
const strangerStreamsMax = 100;
const ownStrangerStreamsMax = 5;
/** Requests a minute: somebody we know, strangers of one address together, new visitors of one address. */
const knownMax = 120;
const strangersMax = 20;
const newVisitorsMax = 30;
/** Reading is ten times as cheap. */
const readsPerWrite = 10;
const minuteMs = 60_000;
/** How long it is believed that somebody is still known: answers are needed for each request's limit. */
const knownMs = 5_000;

const thread = z.string().regex(/^[a-z0-9]{8,40}$/);
const cursor = z.coerce
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1);

interface WebOptions {
  readonly cookieKey: string;
  readonly sessions: BrowserSessions;
  readonly heartbeatMs: number;
  readonly signal: AbortSignal;
}

/**
 * The web chat: one page, its script and style, and what they talk to. Whoever has the gateway's browser session is the
 * operator; every other browser has a signed name of its own and is a stranger until it is paired.
 */
export async function webRoutes(
  app: FastifyInstance,
  deps: StreamDeps & { readonly web: WebBackend },
  options: WebOptions,
): Promise<void> {
  const { web } = deps;
  await servePage(app);
  const visitors = openVisitors(options);
  const callers = new WeakMap<FastifyRequest, WebVisitor>();
  const known = new Map<string, { readonly isKnown: boolean; readonly until: number }>();
  const streams = new Map<string, number>();
  let strangerStreams = 0;

  const identify = (request: FastifyRequest): WebVisitor | undefined => {
    if (options.sessions.isOpen(request.cookies[sessionCookie])) {
      return { room: operatorRoom, name: 'Operator', isOperator: true };
    }
    const room = visitors.read(request.cookies[visitorCookie]);
    return room === undefined ? undefined : toVisitor(room);
  };

  const isKnown = async (visitor: WebVisitor): Promise<boolean> => {
    const now = deps.clock.now().getTime();
    const last = known.get(visitor.room);
    if (last !== undefined && last.until > now) return last.isKnown;
    if (known.size > 10_000) known.clear();
    const answer = await web.isKnown(visitor);
    // Only a yes is kept: somebody who has just been paired must not be told to wait.
    if (answer) known.set(visitor.room, { isKnown: answer, until: now + knownMs });
    return answer;
  };

  app.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'));

  app.get(
    '/chat/api/me',
    {
      config: {
        rateLimit: {
          max: (request) => (identify(request) === undefined ? newVisitorsMax : knownMax * 5),
          timeWindow: minuteMs,
        },
      },
    },
    async (request, reply) => {
      const visitor = identify(request) ?? welcome(request, reply);
      return {
        isOperator: visitor.isOperator,
        isKnown: await isKnown(visitor),
        commands: web.commands().map(({ name, description }) => ({ name, description })),
        uploadBytesMax: web.uploadBytesMax,
      };
    },
  );

  /** Gives a new browser its name. Lax, so that a link from elsewhere does not make another visitor of it. */
  const welcome = (request: FastifyRequest, reply: FastifyReply): WebVisitor => {
    const { room, cookie } = visitors.create();
    void reply.setCookie(visitorCookie, cookie, {
      path: '/chat',
      httpOnly: true,
      sameSite: 'lax',
      secure: request.protocol === 'https',
      maxAge: visitors.maxAgeSeconds,
    });
    return toVisitor(room);
  };

  await app.register(async (api) => {
    api.removeContentTypeParser('application/x-www-form-urlencoded');
    api.addHook('onRequest', async (request) => {
      const visitor = identify(request);
      if (visitor === undefined) {
        throw new AppError('request.unauthenticated', 'This browser has no name yet.', { mend: 'Load the page anew.' });
      }
      callers.set(request, visitor);
      await isKnown(visitor);
    });
    const callerOf = (request: FastifyRequest): WebVisitor => {
      const visitor = callers.get(request);
      if (visitor === undefined) throw new AppError('invariant.broken', 'A request without a visitor was let in.');
      return visitor;
    };
    const isFriend = (request: FastifyRequest): boolean => {
      const { room } = callerOf(request);
      return known.get(room)?.isKnown === true;
    };
    const rateLimit = {
      max: (request: FastifyRequest) => (isFriend(request) ? knownMax : strangersMax),
      timeWindow: minuteMs,
      keyGenerator: (request: FastifyRequest) =>
        isFriend(request) ? callerOf(request).room : `stranger ${request.ip}`,
    };
    const readLimit = {
      ...rateLimit,
      max: (request: FastifyRequest) => (isFriend(request) ? knownMax : strangersMax) * readsPerWrite,
    };

    for (const kind of ['message', 'action', 'form', 'stop'] as const) {
      api.post(`/chat/api/${kind}s`, { bodyLimit: 6 * textBytesMax, config: { rateLimit } }, async (request) => {
        const { text } = Object(request.body) as { text?: unknown };
        if (typeof text === 'string' && Buffer.byteLength(text) > textBytesMax) {
          throw new AppError('message.too_large', `The text has ${Buffer.byteLength(text)} bytes.`, {
            mend: 'Attach it as a file instead.',
          });
        }
        await web.submit(callerOf(request), { ...Object(request.body), kind }, deps.clock.now());
        return { isAccepted: true };
      });
    }

    api.get('/chat/api/threads', { config: { rateLimit: readLimit } }, async (request) => ({
      threads: await web.threads(callerOf(request).room),
    }));

    api.get('/chat/api/history', { config: { rateLimit: readLimit } }, async (request) => {
      const query = parse(
        z.object({ thread, limit: cursor.min(1).max(historyRowsMax).default(50), before: cursor.optional() }),
        request,
      );
      return await web.history(placeOf(callerOf(request), query.thread), {
        rowsMax: query.limit,
        beforeId: query.before,
      });
    });

    api.get('/chat/api/stream', { config: { rateLimit: readLimit } }, async (request, reply) => {
      const query = parse(z.object({ thread, since: cursor.optional() }), request);
      const { room } = callerOf(request);
      const place = { room, thread: query.thread };
      const isStranger = !isFriend(request);
      const own = streams.get(room) ?? 0;
      const all = streams.values().reduce((sum, count) => sum + count, 0);
      const isFull = isStranger
        ? own >= ownStrangerStreamsMax || strangerStreams >= strangerStreamsMax
        : own >= ownStreamsMax;
      if (isFull || all >= streamsMax) {
        throw new AppError('request.too_many', 'Too many pages are open already.', { mend: 'Close one of them.' });
      }
      streams.set(room, own + 1);
      strangerStreams += isStranger ? 1 : 0;
      try {
        const lastId = cursor.safeParse(request.headers['last-event-id']).data;
        const since = lastId ?? query.since ?? (await web.history(place, { rowsMax: 1 })).change;
        const source = {
          key: web.keyOf(place),
          changes: (from: number, rowsMax: number) => web.changes(place, from, rowsMax),
          subscribe: (listener: (note: ConsoleNote) => void) => web.subscribe(place, listener),
          preview: (markdown: string) => web.preview(markdown),
        };
        const { heartbeatMs, signal } = options;
        await sendEvents(deps, reply, { source, since, heartbeatMs, signal });
      } finally {
        strangerStreams -= isStranger ? 1 : 0;
        const left = (streams.get(room) ?? 1) - 1;
        if (left > 0) streams.set(room, left);
        else streams.delete(room);
      }
    });

    api.get('/chat/api/files', { config: { rateLimit: readLimit } }, async (request, reply) => {
      const query = parse(z.object({ thread, message: z.string().max(200), index: cursor }), request);
      const file = await web.file(placeOf(callerOf(request), query.thread), query.message, query.index);
      if (file === undefined) {
        throw new AppError('request.not_found', 'There is no such file, or it is not kept any more.');
      }
      return await sendFile(reply, file);
    });

    await api.register(async (uploads) => {
      uploads.removeAllContentTypeParsers();
      // Before the body is read: twenty megabytes of a stranger are not even taken in.
      uploads.addHook('onRequest', async (request) => {
        if (isFriend(request)) return;
        throw new AppError('request.refused', 'Files are taken from people I am paired with.', {
          mend: 'Enter your pairing code first.',
        });
      });
      uploads.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
        done(null, body),
      );
      uploads.post(
        '/chat/api/uploads',
        { bodyLimit: web.uploadBytesMax + 1, config: { rateLimit } },
        async (request) => {
          const { name } = parse(z.object({ name: z.string().min(1).max(1_000) }), request);
          const visitor = callerOf(request);
          const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
          if (bytes.byteLength === 0) throw new AppError('request.invalid', 'The file is empty.');
          return await web.upload(visitor, { name, bytes });
        },
      );
    });
  });
}

const assets = {
  'chat.js': 'text/javascript',
  'chat-document.js': 'text/javascript',
  'chat-message.js': 'text/javascript',
  'chat-scroll.js': 'text/javascript',
  'chat-server.js': 'text/javascript',
  'chat-uploads.js': 'text/javascript',
  'chat.css': 'text/css',
};

async function servePage(app: FastifyInstance): Promise<void> {
  const page = chatPage();
  app.get('/chat', async (_request, reply) => await reply.type('text/html; charset=utf-8').send(page));
  for (const [name, type] of Object.entries(assets)) {
    const content = await readFile(path.join(import.meta.dirname, '../assets', name), 'utf8');
    app.get(`/chat/${name}`, async (_request, reply) => await reply.type(`${type}; charset=utf-8`).send(content));
  }
}

/** Pictures are shown, everything else is saved: a page sent by an agent must not run as ours. */
async function sendFile(
  reply: FastifyReply,
  file: { readonly name: string; readonly mime: string; readonly bytes: Buffer },
): Promise<FastifyReply> {
  const isPicture = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'].includes(file.mime);
  const name = encodeURIComponent(file.name.toWellFormed()).replaceAll("'", '%27').replaceAll('*', '%2A');
  return await reply
    .type(isPicture ? file.mime : 'application/octet-stream')
    .header('content-disposition', `${isPicture ? 'inline' : 'attachment'}; filename*=UTF-8''${name}`)
    .header('content-security-policy', "default-src 'none'; sandbox")
    .header('cache-control', 'private, max-age=3600')
    .send(file.bytes);
}

function toVisitor(room: string): WebVisitor {
  return { room, name: `Browser ${room.slice(1, 5)}`, isOperator: false };
}

function placeOf(visitor: WebVisitor, name: string): { readonly room: string; readonly thread: string } {
  return { room: visitor.room, thread: name };
}

function parse<Schema extends z.ZodType>(schema: Schema, request: FastifyRequest): z.output<Schema> {
  const result = schema.safeParse(request.query);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new AppError('request.invalid', `The parameter ${issue?.path.join('.')} is missing or wrong.`, {
    mend: issue?.message ?? 'Check the address.',
  });
}
