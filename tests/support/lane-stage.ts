import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { pino } from 'pino';
import { inject } from 'vitest';
import { systemClock } from '#core/kit/clock.ts';
import { newToken } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { LaneWake, TurnOutcome } from '#core/lanes/lane.ts';
import { openQueueBackend, type QueueBackend, type QueueSettings } from '#core/queue/queue-backend.ts';
import { LaneRunner, type RunTurn } from '#workers/lane/lane-runner.ts';
import { WorkerPresence } from '#workers/lane/worker-presence.ts';
import { sweepLanes } from '#workers/upkeep/sweep-lanes.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';
import type { LaneWorkerSettings } from './lane-worker-settings.ts';
import { outboxItem } from './lanes.ts';

const script = path.resolve(import.meta.dirname, 'lane-worker.ts');
const steadyTtlMs = 20_000;

/** A database, a queue of its own, and workers in this process or in others that can be killed. */
export class LaneStage implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly backend: QueueBackend;
  readonly settings: QueueSettings;
  readonly log: Log = pino({ level: 'silent' });
  readonly #children: ChildProcess[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>[] = [];

  private constructor(database: TestDatabase, settings: QueueSettings, backend: QueueBackend) {
    this.database = database;
    this.settings = settings;
    this.backend = backend;
  }

  static async open(kind: QueueSettings['kind'], redisUrl = inject('redisUrl')): Promise<LaneStage> {
    const database = await openTestDatabase();
    await database.query(
      `create table handler_start (turn_id uuid, session_id uuid, seq int, pid int, at timestamptz default clock_timestamp())`,
    );
    const settings: QueueSettings =
      kind === 'postgres' ? { kind, databaseUrl: database.url } : { kind, redisUrl, prefix: `test-${newToken(6)}` };
    return new LaneStage(database, settings, await openQueueBackend(settings, pino({ level: 'silent' })));
  }

  /** A worker in this process. `ring` stands between it and the bell. */
  async work(
    options: {
      readonly runTurn?: RunTurn;
      readonly slots?: number;
      /** How long turns may go on after the stop; 2 s unless told. */
      readonly drainMs?: number;
      readonly ring?: (wakes: readonly LaneWake[]) => Promise<void>;
      /** Silence after which its sweep takes a worker for hung; 20 s unless told, which no pause of a busy machine is. */
      readonly ttlMs?: number;
    } = {},
  ): Promise<LaneRunner> {
    const { db } = this.database;
    const wakes = { ...this.backend.wakes, ...(options.ring === undefined ? {} : { ring: options.ring }) };
    const presence = await WorkerPresence.open({ databaseUrl: this.database.url, log: this.log });
    const runner = new LaneRunner(
      { db, log: this.log, wakes, presence, runTurn: options.runTurn ?? (async (turn) => doneWithEffect(turn)) },
      { slots: options.slots ?? 8, drainMs: options.drainMs ?? 2000 },
    );
    const limits = { ttlMs: options.ttlMs ?? steadyTtlMs, beatGraceMs: 1000, serverGraceMs: 0, overdueMs: 1000 };
    this.#running.push(
      this.#runToEnd(runner, presence),
      sweepLanes({ db, log: this.log, clock: systemClock, wakes, limits }, this.#stop.signal),
    );
    return runner;
  }

  async #runToEnd(runner: LaneRunner, presence: WorkerPresence): Promise<void> {
    try {
      await runner.run(this.#stop.signal);
    } finally {
      await presence[Symbol.asyncDispose]();
    }
  }

  /** A worker in a process of its own, ready to work. */
  async spawnWorker(changes: Partial<LaneWorkerSettings> = {}): Promise<ChildProcess> {
    const settings: LaneWorkerSettings = {
      databaseUrl: this.database.url,
      queue: this.settings,
      slots: 4,
      handlerMs: 5,
      ttlMs: steadyTtlMs,
      accepts: [],
      ...changes,
    };
    const child = spawn(process.execPath, [script, JSON.stringify(settings)], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      // Its last words may still be unread when it has ended.
      child.once('close', (code) => reject(new Error(`the worker ended with ${code} before it was ready: ${errors}`)));
    });
    return child;
  }

  /** Stops the workers of this process and waits until their turns have ended or were handed back. */
  async stopWork(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Turns that have not ended. */
  async openTurns(): Promise<number> {
    const [row] = await this.database.query<{ count: number }>(
      `select count(*)::int as count from turn where state in ('queued', 'running', 'waiting')`,
    );
    return row?.count ?? 0;
  }

  /** What no fault may cause: turns not done, done twice, or out of order. Empty when all is well. */
  async findDamage(): Promise<string[]> {
    const damage: string[] = [];
    const check = async (name: string, text: string): Promise<void> => {
      const rows = await this.database.query(text);
      if (rows.length > 0) damage.push(`${name}: ${rows.length}`);
    };
    await check('not done', `select 1 from turn where state not in ('done', 'absorbed')`);
    await check(
      'not exactly one effect',
      `select 1 from turn t left join outbox o on o.turn_id = t.id where t.state = 'done'
       group by t.id having count(o.id) <> 1 or min(o.key) <> t.session_id || '/' || t.seq || '/' || t.fence`,
    );
    await check(
      'out of order',
      `select 1 from (select (payload ->> 'seq')::int as turn_seq,
         lag((payload ->> 'seq')::int) over (partition by session_id order by seq) as before
         from event where kind = 'turn_ended') e where turn_seq <= before`,
    );
    await check('not idle', `select 1 from lane where state <> 'idle'`);
    return damage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopWork();
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await this.backend[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

/** The outcome of a turn whose single effect can be counted. */
export function doneWithEffect(turn: {
  readonly id: string;
  readonly sessionId: string;
  readonly seq: number;
  readonly fence: number;
}): TurnOutcome {
  return {
    state: 'done',
    events: [{ kind: 'turn_ended', payload: { seq: turn.seq } }],
    outbox: [{ ...outboxItem(`${turn.sessionId}/${turn.seq}/${turn.fence}`, 'done'), turnId: turn.id }],
  };
}
