import type { ServerResponse } from 'node:http';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ConsoleBackend, ConsoleNote, ConsolePlace, TurnNote } from '../console-backend.ts';
import type { GatewayReads } from '../gateway-store.ts';
import { toWire } from './console-wire.ts';

export interface StreamDeps {
  readonly console: ConsoleBackend;
  readonly reads: Pick<GatewayReads, 'countUndelivered' | 'readTurns'>;
  readonly clock: Clock;
  readonly log: Log;
}

interface StreamOptions {
  readonly place: ConsolePlace;
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
  const { place } = options;
  const closed = new AbortController();
  const pending: (ConsoleNote | { readonly kind: 'ready' })[] = [];
  const toldLive = new Set<string>();
  let cursor = options.since;
  let isPumping = false;

  const write = (event: string, data: unknown, id?: number): void => {
    response.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (response.writableLength > hardBacklogBytes) response.destroy();
  };

  const writeChanges = async (): Promise<void> => {
    for (;;) {
      const messages = await deps.console.changes(place, cursor, rowsMax);
      for (const message of messages) {
        write('message', toWire(message), message.change);
        cursor = Math.max(cursor, message.change);
      }
      if (messages.length < rowsMax || closed.signal.aborted) return;
    }
  };

  const writeTurn = (note: TurnNote): void => write('turn', { ...note, kind: undefined, threadKey: undefined });

  /** Messages are kept and turns are rows: what was notified while nobody listened is read from there. */
  const catchUp = async (): Promise<void> => {
    toldLive.clear();
    const turns = await deps.reads.readTurns(deps.console.keyOf(place));
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
      case 'typing':
        if (response.writableLength > softBacklogBytes) return;
        write(note.kind, { ...note, kind: undefined, threadKey: undefined });
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
    // Several unread "there is something to read" say no more than one.
    if (note.kind === 'message' && pending.at(-1)?.kind === 'message') return;
    pending.push(note);
    void pump();
  };

  const tell = async (note: TurnNote): Promise<void> => {
    if (note.state !== 'started') await waitUntilShown(deps, note.turnId, closed.signal);
    push(note);
  };

  const end = (): void => void response.end();
  const unsubscribe = deps.console.subscribe(place, (note) => {
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
