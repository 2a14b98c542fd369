import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { inject } from 'vitest';
import type { RawEvent } from '#bots/channel.ts';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { openConsoleDesk } from '#bots/console/console-desk.ts';
import { HostedFeed } from '#bots/hosted/hosted-feed.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import { openWebDesk } from '#bots/web/web-desk.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newToken } from '#core/kit/ids.ts';
import { dropMessage, listUndelivered, resendMessage } from '#core/outbox/undelivered.ts';
import type { TurnNote } from '#server/console-backend.ts';
import type { LaneView } from '#server/lane-routes.ts';
import { type Server, type ServerOptions, startServer } from '#server/start-server.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';
import { eventually } from './eventually.ts';

/** A gateway with nothing behind it but the console: tests play the part of the agents. */
export interface ConsoleStage extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly channel: ConsoleChannel;
  readonly server: Server;
  readonly operatorToken: string;
  readonly loginToken: string;
  /** Everything that was accepted, oldest first. */
  readonly received: RawEvent[];
  readonly logLines: string[];
  /** What tests may change while it runs. */
  readonly state: {
    refusals: number;
    undelivered: number;
    notReady: string | undefined;
    lane: LaneView | undefined;
    turns: TurnNote[];
  };
  /** Plays the agents: called with every accepted event. */
  onEvent: (event: InboundEvent) => Promise<void>;
  /** Says that a turn of the room started, waits or ended. */
  turn(room: string, state: string, more?: Record<string, string>): Promise<void>;
  /** Stops the HTTP server and starts it again on the same port. */
  restart(): Promise<void>;
  request(path: string, init?: RequestInit): Promise<Response>;
}

export async function openConsoleStage(options: Partial<ServerOptions> = {}): Promise<ConsoleStage> {
  const database = await openTestDatabase();
  const logLines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logLines.push(line) });
  const channel = new ConsoleChannel({ db: database.db, log });
  const web = new WebChannel({ db: database.db, log });
  const feed = new HostedFeed({ databaseUrl: database.url, log, clock: systemClock });
  const stop = new AbortController();
  const connection = new Redis(inject('redisUrl'), { maxRetriesPerRequest: null });
  const queue = new Queue(`lanes-${newToken(6)}`, { connection });
  await queue.waitUntilReady();
  const received: RawEvent[] = [];
  const state: ConsoleStage['state'] = { refusals: 0, undelivered: 0, notReady: undefined, lane: undefined, turns: [] };
  const tokens = { operatorToken: newToken(32), loginToken: newToken(16), cookieKey: newToken(32) };
  const start = (port: number): Promise<Server> =>
    startServer(
      {
        console: openConsoleDesk({ db: database.db, channel, feed }),
        web: openWebDesk({ db: database.db, channel: web, feed }),
        queues: [queue],
        hooks: [],
        reads: {
          readLane: async () => state.lane,
          countUndelivered: async () => state.undelivered,
          readTurns: async () => state.turns,
        },
        outbox: {
          list: async () => await listUndelivered(database.db),
          resend: async (id) => await resendMessage(database.db, id),
          drop: async (id) => await dropMessage(database.db, id),
        },
        checks: [
          {
            name: 'database',
            check: async () => {
              if (state.notReady !== undefined) throw new Error(state.notReady);
            },
          },
        ],
        log,
      },
      { host: '127.0.0.1', port, ...tokens, signal: stop.signal, ...options },
    );
  let server = await start(0);
  const running = [feed.run(stop.signal)];
  const stage: ConsoleStage = {
    database,
    channel,
    get server() {
      return server;
    },
    ...tokens,
    received,
    logLines,
    state,
    onEvent: async () => undefined,
    async turn(room, turnState, more = {}) {
      const note = { threadKey: `console:local:${room}:-`, sessionId: 's1', turnId: 't1', state: turnState, ...more };
      await database.query(`select pg_notify('turn_state', $1)`, [JSON.stringify(note)]);
    },
    async restart() {
      const { port } = server;
      await server[Symbol.asyncDispose]();
      server = await start(port);
    },
    request: (path, init = {}) =>
      fetch(`${server.url}${path}`, {
        redirect: 'manual',
        ...init,
        headers: { authorization: `Bearer ${tokens.operatorToken}`, ...init.headers },
      }),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server[Symbol.asyncDispose]();
      await Promise.all(running);
      await queue.close();
      connection.disconnect();
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
