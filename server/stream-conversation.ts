import type { ServerResponse } from 'node:http';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ConsoleNote, TurnNote } from './console-backend.ts';
import type { GatewayReads } from './gateway-store.ts';

/** One conversation to follow. */
interface StreamSource {
  /** Its thread key, as turns carry it. */
  readonly key: string;
  /** What was posted, edited or deleted after a change number, in the form clients get. */
  changes(since: number, rowsMax: number): Promise<readonly { readonly change: number }[]>;
  subscribe(listener: (note: ConsoleNote) => void): () => void;
  /** The form in which clients get a growing text; as Markdown when absent. */
  preview?(markdown: string): unknown;
}

export interface StreamDeps {
  readonly reads: Pick<GatewayReads, 'countUndelivered' | 'readTurns'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StreamOptions {
  readonly source: StreamSource;
  /** Changes up to this number are known to the client. */
  readonly since: number;
  readonly heartbeatMs: number;
  /** Ends the stream; the client comes back with what it saw last. */
  readonly signal: AbortSignal;
}

const rowsMax = 100;
/** Above this backlog, what is not kept anyway (drafts, typing) is left out. */
const softBacklogBytes = 256 * 1024;
/** Above this backlog the client is cut off; it resumes from its last change. */
const hardBacklogBytes = 8 * 1024 * 1024;
const deliveryWaitMs = 30_000;
const deliveryPollMs = 25;

/**
 * Writes one conversation as server-sent events: first what changed since the client was last here and how its turns
 * stand, then `ready`, then everything as it happens. A turn's `waiting` or end is told after all that it said was shown, so that a client may
 * stop reading there. Resolves when the client left or the signal aborted.
 */
export async function streamConversation(
  deps: StreamDeps,
  response: ServerResponse,
  options: StreamOptions,
): Promise<void> {
  const { source } = options;
  const closed = new AbortController();
  const pending: (ConsoleNote | { readonly kind: 'ready' })[] = [];
  const toldLive = new Set<string>();
  let cursor = options.since;
  let isPumping = false;
  let draft: { readonly id: number; readonly text: string } | undefined;

  const write = (event: string, data: unknown, id?: number): void => {
    response.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (response.writableLength > hardBacklogBytes) response.destroy();
  };

  const writeChanges = async (): Promise<void> => {
    for (;;) {
      const messages = await source.changes(cursor, rowsMax);
      for (const message of messages) {
        write('message', message, message.change);
        cursor = Math.max(cursor, message.change);
      }
      if (messages.length < rowsMax || closed.signal.aborted) return;
    }
  };

  const writeTurn = (note: TurnNote): void => write('turn', { ...note, kind: undefined, threadKey: undefined });

  const writeDraft = (note: Extract<ConsoleNote, { kind: 'draft' }>): void => {
    if (source.preview === undefined) {
      write('draft', { ...note, kind: undefined, threadKey: undefined });
      return;
    }
    // A notification holds the end of a long text; the beginning is known from the one before.
    const from = note.from ?? 0;
    const known = draft?.id === note.draftId && draft.text.length >= from ? draft.text.slice(0, from) : '';
    // Somebody who comes in the middle sees that something is missing.
    const gap = from > 0 && known === '' ? '… ' : '';
    draft = { id: note.draftId, text: gap + known + note.markdown };
    write('draft', { draftId: note.draftId, nodes: source.preview(draft.text) });
  };

  /** Messages are kept and turns are rows: what was notified while nobody listened is read from there. */
  const catchUp = async (): Promise<void> => {
    toldLive.clear();
    const turns = await deps.reads.readTurns(source.key);
    await writeChanges();
    // What was told while this was read is newer than what was read.
    for (const turn of turns) {
      if (toldLive.has(turn.turnId)) continue;
      if (turn.state === 'started' || (await deps.reads.countUndelivered(turn.turnId)) === 0) writeTurn(turn);
      else void tell(turn);
    }
  };

  const handle = async (note: (typeof pending)[number]): Promise<void> => {
    switch (note.kind) {
      case 'message':
        await writeChanges();
        return;
      case 'missed':
        await catchUp();
        return;
      case 'ready':
        await catchUp();
        write('ready', { change: cursor });
        return;
      case 'turn':
        // What a turn says belongs between its start and its end.
        if (note.state !== 'started') await writeChanges();
        writeTurn(note);
        return;
      case 'draft':
        if (response.writableLength > softBacklogBytes) return;
        writeDraft(note);
        return;
      case 'typing':
        if (response.writableLength <= softBacklogBytes) write('typing', {});
        return;
      case 'form':
        write('form', { actionId: note.actionId, form: note.form });
        return;
      case 'ack':
        write('ack', { actionId: note.actionId, text: note.text, isAlert: note.isAlert });
        return;
    }
  };

  const pump = async (): Promise<void> => {
    if (isPumping) return;
    isPumping = true;
    try {
      for (let note = pending.shift(); note !== undefined && !closed.signal.aborted; note = pending.shift()) {
        await handle(note);
      }
    } catch (err) {
      // The client resumes from its cursor; there is nothing to repair here.
      deps.log.warn({ err }, 'console stream broke off');
      response.destroy();
    } finally {
      isPumping = false;
    }
  };

  const push = (note: (typeof pending)[number]): void => {
    // Several unread "there is something to read" say no more than one, and an older state of a text says nothing.
    const last = pending.at(-1);
    if (note.kind === 'message' && last?.kind === 'message') return;
    if (note.kind === 'draft' && last?.kind === 'draft' && last.draftId === note.draftId && note.from === 0)
      pending.pop();
    pending.push(note);
    void pump();
  };

  const tell = async (note: TurnNote): Promise<void> => {
    if (note.state !== 'started') await waitUntilShown(deps, note.turnId, closed.signal);
    push(note);
  };

  const end = (): void => void response.end();
  const unsubscribe = source.subscribe((note) => {
    if (note.kind !== 'turn') {
      push(note);
      return;
    }
    toldLive.add(note.turnId);
    void tell(note);
  });
  const heartbeat = setInterval(() => response.write(': beat\n\n'), options.heartbeatMs);
  const left = Promise.withResolvers<void>();
  response.on('close', () => left.resolve());
  response.on('error', () => left.resolve());
  options.signal.addEventListener('abort', end, { once: true });
  if (options.signal.aborted) end();
  push({ kind: 'ready' });
  await left.promise;
  closed.abort();
  unsubscribe();
  clearInterval(heartbeat);
  options.signal.removeEventListener('abort', end);
}

async function waitUntilShown(deps: StreamDeps, turnId: string, signal: AbortSignal): Promise<void> {
  const until = deps.clock.now().getTime() + deliveryWaitMs;
  try {
    while ((await deps.reads.countUndelivered(turnId)) > 0 && deps.clock.now().getTime() < until) {
      await deps.clock.sleep(deliveryPollMs, signal);
    }
  } catch {
    // The client left, or the database did: the turn's end is told all the same.
  }
}
