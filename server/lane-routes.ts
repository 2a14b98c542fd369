import type { FastifyInstance } from 'fastify';
import { AppError } from '#core/kit/errors.ts';
import { type Html, html, page } from './html.ts';

/** One turn of a lane, as its page shows it. */
interface LaneTurn {
  readonly seq: number;
  readonly id: string;
  readonly state: string;
  readonly waitingFor?: string | undefined;
  readonly mode: string;
  readonly kind: string;
  readonly attempts: number;
  readonly createdAt: Date;
  readonly startedAt?: Date | undefined;
  readonly finishedAt?: Date | undefined;
  readonly errorCode?: string | undefined;
}

/** One event of the session's log. `text` is shown as it is, escaped. */
interface LaneEvent {
  readonly seq: number;
  readonly kind: string;
  readonly text: string;
  readonly createdAt: Date;
}

/** What an operator wants to know about one lane. Turns and events newest first. */
export interface LaneView {
  readonly sessionId: string;
  readonly threadKey: string;
  readonly agentName: string;
  readonly state: string;
  /** Turns that are queued, running or waiting. */
  readonly openTurns: number;
  readonly nextSeq: number;
  readonly fence: number;
  readonly generation: number;
  readonly owner?: string | undefined;
  readonly turns: readonly LaneTurn[];
  readonly events: readonly LaneEvent[];
}

/** The page of one lane: its state, its last turns, the end of its event log. */
export function laneRoutes(
  app: FastifyInstance,
  deps: { readonly reads: { readLane(sessionId: string): Promise<LaneView | undefined> } },
): void {
  app.get<{ Params: { id: string } }>('/lanes/:id', async (request, reply) => {
    const { id } = request.params;
    const lane = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) ? await deps.reads.readLane(id) : undefined;
    if (lane === undefined) {
      throw new AppError('request.not_found', 'There is no such lane.', { mend: 'A lane is named by its session id.' });
    }
    return await reply.type('text/html; charset=utf-8').send(lanePage(lane));
  });
}

function lanePage(lane: LaneView): string {
  const facts: [string, unknown][] = [
    ['Session', html`<code>${lane.sessionId}</code>`],
    ['Thread', html`<code>${lane.threadKey}</code>`],
    ['Agent', lane.agentName],
    ['Turns', `${lane.openTurns} open, next number ${lane.nextSeq}`],
    ['Generation', lane.generation],
    ['Fence', lane.fence],
    ['Worker', lane.owner === undefined ? 'none' : html`<code>${lane.owner}</code>`],
  ];
  return page({
    title: `Lane ${lane.sessionId.slice(0, 8)}`,
    actions: html`<a href="/chat">Chat</a><a href="/queues">Queues</a><a href="/outbox">Undelivered</a><a href="/logout">Log out</a>`,
    body: html`<h1>Lane ${badge(lane.state)}</h1>
<dl class="card facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
<h2>Turns</h2>
${lane.turns.length === 0 ? html`<p class="hint">No turn yet.</p>` : turnTable(lane.turns)}
<h2>Events</h2>
${lane.events.length === 0 ? html`<p class="hint">No event yet.</p>` : eventList(lane.events)}`,
  });
}

function turnTable(turns: readonly LaneTurn[]): Html {
  return html`<div class="card wide"><table>
<thead><tr><th>No.</th><th>State</th><th>Kind</th><th>Mode</th><th>Tries</th><th>Accepted</th><th>Took</th><th>Error</th></tr></thead>
<tbody>${turns.map(
    (turn) => html`<tr title="${turn.id}">
<td>${turn.seq}</td><td>${badge(turn.state)}${turn.waitingFor === undefined ? '' : ` for ${turn.waitingFor}`}</td>
<td>${turn.kind}</td><td>${turn.mode}</td><td>${turn.attempts}</td>
<td>${time(turn.createdAt)}</td><td>${took(turn)}</td><td>${turn.errorCode}</td></tr>`,
  )}</tbody></table></div>`;
}

function eventList(events: readonly LaneEvent[]): Html {
  return html`<ol class="card events">${events.map(
    (event) => html`<li><p class="meta"><b>${event.seq}</b> ${event.kind} ${time(event.createdAt)}</p>
<pre>${event.text}</pre></li>`,
  )}</ol>`;
}

function badge(state: string): Html {
  return html`<span class="badge ${state}">${state}</span>`;
}

function time(date: Date): Html {
  const iso = date.toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`;
}

function took(turn: LaneTurn): string {
  if (turn.startedAt === undefined || turn.finishedAt === undefined) return '';
  const ms = turn.finishedAt.getTime() - turn.startedAt.getTime();
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}
