import type { FastifyInstance, FastifyReply } from 'fastify';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { type Html, html, page } from '../html.ts';
import type { McpLoginDesk } from './login-desk.ts';

const cookieName = 'sy_mcp_login';
const cookieSeconds = 600;

/**
 * The pages of a login at an MCP server. A link opens a page that says for whom and where the login is; only the browser
 * that said yes there may come back with the answer. Otherwise whoever begins a login could have somebody else finish it.
 */
export function loginPages(
  app: FastifyInstance,
  deps: { readonly desk: McpLoginDesk; readonly log: Log },
  options: { readonly attemptsMax: number },
): void {
  const config = { rateLimit: { max: options.attemptsMax, timeWindow: 60_000 } };

  app.get<{ Params: { ticket: string } }>('/mcp/login/:ticket', { config }, async (request, reply) => {
    const login = await deps.desk.page(request.params.ticket);
    if (login === undefined) return send(reply, 404, 'Link not valid', over);
    return send(
      reply,
      200,
      'Log in',
      html`<h1>Log in at ${login.server}</h1>
<p>This lets agents that work for <strong>${login.personName}</strong> use your account at <strong>${login.host}</strong>.</p>
<p>Go on only if you are ${login.personName} and asked for this yourself. If somebody sent you this link, close this page.</p>
<form method="post" action="/mcp/login/${request.params.ticket}"><button>I am ${login.personName}, go on</button></form>`,
    );
  });

  app.post<{ Params: { ticket: string } }>('/mcp/login/:ticket', { config }, async (request, reply) => {
    const confirmed = await deps.desk.confirm(request.params.ticket);
    if (confirmed === undefined) return send(reply, 404, 'Link not valid', over);
    void reply.setCookie(cookieName, confirmed.browser, {
      path: '/mcp',
      httpOnly: true,
      // The answer comes from another site, by a link that is followed.
      sameSite: 'lax',
      secure: request.protocol === 'https',
      maxAge: cookieSeconds,
    });
    // A link and no redirect: our pages allow forms to lead nowhere else.
    return send(
      reply,
      200,
      'Log in',
      html`<h1>One step more</h1>
<p><a href="${confirmed.url}" rel="noreferrer">Go on to ${new URL(confirmed.url).host}</a></p>`,
    );
  });

  app.get('/mcp/callback', { config }, async (request, reply) => {
    void reply.clearCookie(cookieName, { path: '/mcp' });
    try {
      const { search } = new URL(request.url, 'http://localhost');
      const { server } = await deps.desk.finish(new URLSearchParams(search), request.cookies[cookieName]);
      return send(
        reply,
        200,
        'Logged in',
        html`<h1>You are logged in at ${server}</h1><p>You can close this page and go on in the chat.</p>`,
      );
    } catch (err) {
      if (!isAppError(err) || !err.isForChat) throw err;
      deps.log.warn({ err, code: err.code }, 'a login at an mcp server failed');
      return send(reply, 400, 'Not logged in', html`<h1>Not logged in</h1><p>${err.text}</p>`);
    }
  });

  app.get('/mcp/client-metadata.json', async (_request, reply) => {
    const document = deps.desk.clientDocument();
    if (document === undefined) throw new AppError('request.not_found', 'There is nothing at this address.');
    return await reply.header('cache-control', 'max-age=300').send(document);
  });
}

const over = html`<h1>This link is not valid any more</h1><p>Ask for a new one in the chat.</p>`;

function send(reply: FastifyReply, status: number, title: string, body: Html): FastifyReply {
  return reply
    .status(status)
    .header('cache-control', 'no-store')
    .type('text/html; charset=utf-8')
    .send(page({ title, body }));
}
