import { pino } from 'pino';
import type { RawEvent } from '#bots/channel.ts';
import { HostedFeed } from '#bots/hosted/hosted-feed.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import { openWebDesk } from '#bots/web/web-desk.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newToken } from '#core/kit/ids.ts';
import type { TurnNote } from '#server/console-backend.ts';
import { type Server, type ServerOptions, startServer } from '#server/start-server.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';
import { eventually } from './eventually.ts';

/** A gateway with nothing behind it but the web chat: tests play the part of the agents. */
export interface WebStage extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly channel: WebChannel;
  readonly server: Server;
  readonly loginToken: string;
  readonly received: RawEvent[];
  readonly logLines: string[];
  readonly state: { refusals: number; turns: TurnNote[] };
  /** Plays the agents: called with every accepted event. */
  onEvent: (event: InboundEvent) => Promise<void>;
  /** Says that a turn of a conversation started, waits or ended. */
  turn(conversation: InboundEvent['conversation'], state: string, more?: Record<string, string>): Promise<void>;
  /** Stops the HTTP server and starts it again on the same port. */
  restart(): Promise<void>;
}

export async function openWebStage(options: Partial<ServerOptions> = {}): Promise<WebStage> {
  const database = await openTestDatabase();
  const logLines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logLines.push(line) });
  const channel = new WebChannel({ db: database.db, log });
  const feed = new HostedFeed({ databaseUrl: database.url, log, clock: systemClock });
  const stop = new AbortController();
  const received: RawEvent[] = [];
  const state: WebStage['state'] = { refusals: 0, turns: [] };
  const tokens = { operatorToken: newToken(32), loginToken: newToken(16), cookieKey: newToken(32) };
  const start = (port: number): Promise<Server> =>
    startServer(
      {
        console: { ...Object(undefined) },
        web: openWebDesk({ db: database.db, channel, feed }),
        queues: [],
        hooks: [],
        reads: {
          readLane: async () => undefined,
          countUndelivered: async () => 0,
          readTurns: async () => state.turns,
        },
        outbox: { ...Object(undefined) },
        checks: [],
        log,
      },
      { host: '127.0.0.1', port, ...tokens, signal: stop.signal, ...options },
    );
  let server = await start(0);
  const running = [feed.run(stop.signal)];
  const stage: WebStage = {
    database,
    channel,
    get server() {
      return server;
    },
    loginToken: tokens.loginToken,
    received,
    logLines,
    state,
    onEvent: async () => undefined,
    async turn({ account, room, thread }, turnState, more = {}) {
      const threadKey = `web:${account}:${room}:${thread}`;
      const note = { threadKey, sessionId: 's1', turnId: 't1', state: turnState, ...more };
      await database.query(`select pg_notify('turn_state', $1)`, [JSON.stringify(note)]);
    },
    async restart() {
      const { port } = server;
      await server[Symbol.asyncDispose]();
      server = await start(port);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server[Symbol.asyncDispose]();
      await Promise.all(running);
      await database[Symbol.asyncDispose]();
    },
  };
  running.push(
    channel.run(async (events) => {
      if (state.refusals > 0) {
        state.refusals -= 1;
        throw Object.assign(new Error('the database is down'), { code: 'ECONNREFUSED' });
      }
      for (const event of events) {
        // The inbox keeps a key once.
        if (received.some(({ dedupKey }) => dedupKey === event.dedupKey)) continue;
        received.push(event);
        for (const neutral of channel.normalise(event.raw)) void stage.onEvent(neutral);
      }
    }, stop.signal),
  );
  await eventually(() => {
    if (!feed.isListening) throw new Error('the feed does not listen yet');
  });
  return stage;
}
