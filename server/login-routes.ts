import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { type BrowserSessions, sessionCookie } from './browser-session.ts';
import { html, page } from './html.ts';

const formSchema = z.object({ token: z.string().max(200), next: z.string().max(500).optional() });

/** Login page, login, logout. At most `attemptsMax` logins a minute from one address. */
export function loginRoutes(
  app: FastifyInstance,
  deps: { readonly sessions: BrowserSessions; readonly log: Log },
  options: { readonly attemptsMax: number },
): void {
  app.get('/login', async (request, reply) => {
    const next = safeNext((request.query as Record<string, string | undefined>)['next']);
    if (deps.sessions.isOpen(request.cookies[sessionCookie])) return reply.redirect(next);
    return sendLogin(reply, 200, next);
  });

  app.route({
    method: 'POST',
    url: '/login',
    bodyLimit: 4_096,
    config: { rateLimit: { max: options.attemptsMax, timeWindow: 60_000 } },
    // Whoever is over the limit sees the page too, not a line of JSON.
    errorHandler: (error, request, reply) => {
      if (!(error instanceof AppError) || error.code !== 'request.too_many') throw error;
      deps.log.warn({ address: request.ip }, 'too many login attempts');
      sendLogin(reply, 429, '/queues', 'Too many attempts. Wait a minute, then try again.');
    },
    handler: async (request, reply) => {
      const form = formSchema.safeParse(request.body).data;
      const next = safeNext(form?.next);
      try {
        const cookie = deps.sessions.open(form?.token.trim() ?? '');
        return reply
          .setCookie(sessionCookie, cookie, {
            path: '/',
            httpOnly: true,
            sameSite: 'strict',
            secure: request.protocol === 'https',
            maxAge: deps.sessions.maxAgeSeconds,
          })
          .redirect(next, 303);
      } catch (err) {
        if (!(err instanceof AppError)) throw err;
        deps.log.warn({ address: request.ip }, 'login refused');
        return sendLogin(reply, 401, next, err.text);
      }
    },
  });

  // A link, because the queue dashboard's menu can only hold links; another site may not follow it for someone.
  app.get('/logout', async (request, reply) => {
    if (request.headers['sec-fetch-site'] === 'cross-site') {
      throw new AppError('request.refused', 'This request came from another web site.');
    }
    deps.sessions.close(request.cookies[sessionCookie]);
    return reply.clearCookie(sessionCookie, { path: '/' }).redirect('/login', 303);
  });
}

/** Lets a logged-in browser pass; sends others to the login page, or answers 401 where a page would be no use. */
export async function requireSession(
  sessions: BrowserSessions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply | undefined> {
  void reply.header('cache-control', 'no-store');
  if (sessions.isOpen(request.cookies[sessionCookie])) return undefined;
  if (request.method === 'GET' && (request.headers.accept ?? '').includes('text/html')) {
    return await reply.redirect(`/login?next=${encodeURIComponent(request.url)}`);
  }
  throw new AppError('request.unauthenticated', 'Nobody is logged in.', { mend: 'Log in at /login.' });
}

/** Only a path of ours: an absolute or protocol-relative address would make the login page an open redirect. */
function safeNext(next: string | undefined): string {
  return next !== undefined && /^\/(?:queues|lanes|chat)(?:[/?#][\x21-\x7e]*)?$/.test(next) && !next.includes('\\')
    ? next
    : '/queues';
}

function sendLogin(reply: FastifyReply, status: number, next: string, problem?: string): FastifyReply {
  return reply
    .code(status)
    .type('text/html; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(
      page({
        title: 'Log in',
        body: html`<form class="card login" method="post" action="/login">
<h1>Log in</h1>
<p class="hint">Switchyard printed a login token when it started.</p>
${problem === undefined ? undefined : html`<p class="problem" role="alert">${problem}</p>`}
<label for="token">Login token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="${next}">
<button type="submit">Log in</button>
</form>`,
      }),
    );
}
