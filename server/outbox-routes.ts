import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import type { Undelivered } from '#core/outbox/undelivered-message.ts';
import { type Html, html, page } from './html.ts';

/** What an operator sees and does about messages that did not arrive. */
export interface OutboxDesk {
  list(): Promise<readonly Undelivered[]>;
  /** @returns false when there is no such message any more. */
  resend(id: string): Promise<boolean>;
  /** @returns false when there is no such message any more. */
  drop(id: string): Promise<boolean>;
}

const meanings: Readonly<Record<Undelivered['state'], string>> = {
  unknown: 'The platform may have it: look in the chat before you send it again.',
  dead: 'Given up: it cannot arrive as things are.',
  failing: 'Still tried, but later messages of its thread go first.',
};

const formSchema = z.object({ action: z.enum(['resend', 'drop']) });

/** The page of messages that did not arrive: what, where, why, and what can be done about it. */
export function outboxRoutes(app: FastifyInstance, deps: { readonly outbox: OutboxDesk }): void {
  app.get('/outbox', async (_request, reply) =>
    reply.type('text/html; charset=utf-8').send(outboxPage(await deps.outbox.list())),
  );
  app.post<{ Params: { id: string } }>('/outbox/:id', async (request, reply) => {
    const form = formSchema.safeParse(request.body);
    if (!form.success) throw new AppError('request.invalid', 'What is to be done with it: resend or drop?');
    const { id } = request.params;
    const isDone =
      z.uuid().safeParse(id).success &&
      (await (form.data.action === 'resend' ? deps.outbox.resend(id) : deps.outbox.drop(id)));
    if (!isDone) {
      throw new AppError('request.not_found', 'There is no such message any more.', {
        mend: 'It was delivered or dropped meanwhile.',
      });
    }
    return await reply.redirect('/outbox', 303);
  });
}

function outboxPage(messages: readonly Undelivered[]): string {
  return page({
    title: 'Undelivered messages',
    actions: html`<a href="/chat">Chat</a><a href="/queues">Queues</a><a href="/logout">Log out</a>`,
    body: html`<h1>Undelivered messages</h1>
${messages.length === 0 ? html`<p class="hint">Everything that was said has arrived.</p>` : list(messages)}`,
  });
}

function list(messages: readonly Undelivered[]): Html {
  return html`<ol class="card events">${messages.map(
    (message) => html`<li><p class="meta"><span class="badge ${message.state}">${message.state}</span>
${message.createdAt.toISOString().slice(0, 19).replace('T', ' ')} UTC · ${message.importance} for <code>${message.threadKey}</code></p>
<pre>${message.text}</pre>
<p>${meanings[message.state]}<br><span class="hint">${message.reason}</span></p>
<form class="choices" method="post" action="/outbox/${message.id}"><button name="action" value="resend">Send again</button>
<button name="action" value="drop">Drop</button></form></li>`,
  )}</ol>`;
}
