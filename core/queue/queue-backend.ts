import { setTimeout as delay } from 'node:timers/promises';
import {
  createPostgresBackend,
  DelayedError,
  type Job,
  type JobProgress,
  type PostgresConnectionOptions,
  type PostgresQueueBackend,
  Queue,
  type QueueOptions,
  runMigrations,
  Worker,
  type WorkerOptions,
} from 'bullmq';
import { Redis } from 'ioredis';
import { createPool } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { laneQueueName, type WakeJob, wakeJobId, wakeJobName, wakeJobSchema } from './wake-job.ts';

/** Where the wakes live. The same jobs, the same code and the same tests on both. */
export type QueueSettings =
  | { readonly kind: 'postgres'; readonly databaseUrl: string }
  | {
      readonly kind: 'redis';
      readonly redisUrl: string;
      /** Namespace of the keys, for several installations on one Redis; `bull` unless told. */
      readonly prefix?: string;
    };

/** Where the queue stands with one wake. */
type WakeFate = 'waiting' | 'held' | 'lost';

/** Answers a wake; a delay means "not due yet, ring this one again then". */
type WakeHandler = (wake: WakeJob) => Promise<{ readonly delayMs: number } | undefined>;

type WakeJobOf = Job<WakeJob, null, string>;
type LaneQueue =
  | Queue<WakeJob, null, string>
  | Queue<WakeJob, null, string, WakeJob, null, string, PostgresQueueBackend, PostgresConnectionOptions>;

/** Finished wakes that stay visible in the queue's dashboard. Generations never repeat, so keeping them is harmless. */
const keep = { count: 1000 };
/** A queue that does not answer in this time counts as down; the sweep makes up for it. */
const answerMs = 3000;

/** More wakes than this go in one bulk insert. */
const bulkMin = 4;
/** Entries of the queue's own event log, which only its dashboard reads. */
const streams = { events: { maxLen: 1000 } };
/** A wake that lies active for this long without having been claimed is held by nobody. */
const heldMs = 2000;

/** Between two tries of a worker to reach its queue. */
const restMs = 500;

const workerOptions = {
  autorun: false,
  removeOnComplete: keep,
  removeOnFail: keep,
  // A wake that stalls is only a doubled wake; it must never fail for that.
  maxStalledCount: 1_000_000,
  // After a lost connection it rests this long before it takes wakes again; the library's 15 s would be ours, too.
  runRetryDelay: restMs,
} as const satisfies Partial<WorkerOptions>;

/** The bell: BullMQ on Redis or on Postgres. What it holds may be lost, doubled or reordered at any time. */
export interface QueueBackend extends AsyncDisposable {
  readonly kind: QueueSettings['kind'];
  readonly wakes: {
    /** Rings for ready lanes. Never rejects: what could not be rung is logged and left to the sweep. */
    ring(wakes: readonly LaneWake[]): Promise<void>;
    /**
     * Answers wakes with at most `concurrency` handlers at a time. When the signal aborts no more are taken; resolves
     * when the last handler has ended.
     */
    consume(
      handler: WakeHandler,
      options: { readonly concurrency: number; readonly signal: AbortSignal },
    ): Promise<void>;
    /** @throws when the queue does not answer in time. */
    fateOf(wake: WakeJob): Promise<WakeFate>;
    /** Jobs per state. @throws when the queue does not answer in time. */
    counts(): Promise<Readonly<Record<string, number>>>;
    /**
     * Leaves a mark that lives as long as the queue's data. `isNew` means that there was none: the queue has lost
     * everything, and every ready lane needs a new wake. @throws when the queue does not answer in time.
     */
    markEpoch(): Promise<{ readonly isNew: boolean }>;
  };
  /** For the queue dashboard. */
  readonly queues: readonly LaneQueue[];
}

/**
 * Opens the queue. On Postgres its schema is migrated first, because a queue opened before that retries in a hot loop;
 * with Redis the call returns although Redis may be down: turns are accepted meanwhile and run when it is back.
 */
export async function openQueueBackend(settings: QueueSettings, log: Log): Promise<QueueBackend> {
  return settings.kind === 'postgres' ? openOnPostgres(settings.databaseUrl, log) : openOnRedis(settings, log);
}

async function openOnPostgres(databaseUrl: string, log: Log): Promise<QueueBackend> {
  await migrateQueueSchema(databaseUrl, log);
  const connection = (max: number) => ({
    connectionString: databaseUrl,
    max,
    application_name: 'switchyard-queue',
    // A lost wake is rung again by the sweep, so the bell need not wait for the disk.
    options: '-c synchronous_commit=off',
  });
  const queue = new Queue<
    WakeJob,
    null,
    string,
    WakeJob,
    null,
    string,
    PostgresQueueBackend,
    PostgresConnectionOptions
  >(laneQueueName, { connection: connection(3), streams }, createPostgresBackend);
  queue.on('error', (err) => log.debug({ err, queue: laneQueueName }, 'queue could not be opened'));
  try {
    await queue.waitUntilReady();
  } catch (err) {
    await answered(queue.close()).catch(() => {});
    throw err;
  }
  return assemble({
    kind: 'postgres',
    log,
    queue,
    failsForGood: true,
    newWorker: (processor, concurrency) =>
      new Worker<WakeJob, null, string, PostgresQueueBackend, JobProgress, PostgresConnectionOptions>(
        laneQueueName,
        processor,
        { ...workerOptions, connection: connection(4), concurrency },
        createPostgresBackend,
      ),
    // The wakes share a database with the truth: they cannot be lost without it.
    markEpoch: async () => ({ isNew: false }),
    close: async () => {},
  });
}

/** Brings the queue's own schema (`bullmq`) up to date; several processes may start at once. */
async function migrateQueueSchema(databaseUrl: string, log: Log): Promise<void> {
  const pool = createPool({ url: databaseUrl, connectionsMax: 1, applicationName: 'switchyard-queue', log });
  try {
    const client = await pool.connect();
    await runMigrations(client).finally(() => client.release());
  } finally {
    await pool.end();
  }
}

function openOnRedis(settings: Extract<QueueSettings, { kind: 'redis' }>, log: Log): QueueBackend {
  const { redisUrl, prefix = 'bull' } = settings;
  // The producer fails fast, so that a Redis that is down is noticed and logged; consumers wait for its return.
  const failFast = { maxRetriesPerRequest: 1, enableOfflineQueue: false, retryStrategy: reconnectMs };
  const queueOptions: QueueOptions = {
    connection: { url: redisUrl, ...failFast },
    prefix,
    streams,
  };
  const epoch = new Redis(redisUrl, failFast);
  epoch.on('error', (err) => log.debug({ err }, 'queue epoch connection failed'));
  return assemble({
    kind: 'redis',
    log,
    failsForGood: false,
    queue: new Queue<WakeJob, null, string>(laneQueueName, queueOptions),
    newWorker: (processor, concurrency) =>
      new Worker<WakeJob, null, string>(laneQueueName, processor, {
        ...workerOptions,
        connection: { url: redisUrl, maxRetriesPerRequest: null, retryStrategy: reconnectMs },
        prefix,
        concurrency,
      }),
    markEpoch: async () => ({
      isNew: (await epoch.set(`${prefix}:lanes-epoch`, new Date().toISOString(), 'NX')) === 'OK',
    }),
    close: async () => epoch.disconnect(),
  });
}

/** A Redis that restarts is back within the second; a longer absence is asked about twice a second. */
function reconnectMs(times: number): number {
  return Math.min(times * 50, 500);
}

interface Parts {
  readonly kind: QueueSettings['kind'];
  readonly log: Log;
  readonly queue: LaneQueue;
  /** Whether a worker whose first look at the queue failed never recovers. */
  readonly failsForGood: boolean;
  newWorker(processor: (job: WakeJobOf, token?: string) => Promise<null>, concurrency: number): LaneWorker;
  markEpoch(): Promise<{ readonly isNew: boolean }>;
  close(): Promise<void>;
}

interface LaneWorker {
  on(event: 'error', listener: (err: Error) => void): unknown;
  on(event: 'failed', listener: (job: WakeJobOf | undefined, err: Error) => void): unknown;
  waitUntilReady(): Promise<void>;
  run(): Promise<void>;
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

function assemble(parts: Parts): QueueBackend {
  const { kind, log, queue, markEpoch, close } = parts;
  queue.on('error', (err) => log.warn({ err, queue: laneQueueName }, 'queue connection failed'));
  return {
    kind,
    queues: [queue],
    wakes: {
      ring: async (wakes) => {
        if (wakes.length === 0) return;
        try {
          await answered(addJobs(queue, wakes.map(toJob)));
        } catch (err) {
          log.warn({ err, wakes: wakes.length }, 'wakes could not be rung; the sweep will');
        }
      },
      consume: (handler, options) => consume(parts, handler, options),
      fateOf: async (wake) => {
        const job = await answered(queue.getJob(wakeJobId(wake)));
        if (job === undefined || job.finishedOn !== undefined) return 'lost';
        if (job.processedOn === undefined) return 'waiting';
        return Date.now() - job.processedOn < heldMs ? 'held' : 'lost';
      },
      counts: () => answered(queue.getJobCounts()),
      markEpoch: () => answered(markEpoch()),
    },
    [Symbol.asyncDispose]: async () => {
      await answered(queue.close()).catch((err: unknown) => {
        log.debug({ err }, 'queue could not say good-bye');
        void queue.disconnect().catch(() => {});
      });
      await close();
    },
  };
}

async function consume(
  parts: Pick<Parts, 'log' | 'failsForGood' | 'newWorker'>,
  handler: WakeHandler,
  options: { readonly concurrency: number; readonly signal: AbortSignal },
): Promise<void> {
  const { log, failsForGood, newWorker } = parts;
  const { concurrency, signal } = options;
  const handling = new Set<Promise<unknown>>();
  const process: Parameters<Parts['newWorker']>[0] = async (job, token) => {
    const answering = handler(wakeJobSchema.parse(job.data));
    handling.add(answering);
    const answer = await answering.finally(() => handling.delete(answering));
    if (answer === undefined) return null;
    await job.moveToDelayed(Date.now() + answer.delayMs, token);
    throw new DelayedError();
  };
  const open = (): LaneWorker => {
    const worker = newWorker(process, concurrency);
    worker.on('error', (err) => log.warn({ err, queue: laneQueueName }, 'queue worker failed'));
    worker.on('failed', (job, err) => log.warn({ err, jobId: job?.id }, 'wake failed'));
    return worker;
  };
  const worker = failsForGood ? await openReady(open, log, signal) : open();
  if (worker === undefined) return;
  if (signal.aborted) return await closeWorker(worker, handling, log);
  const stopped = Promise.withResolvers<void>();
  const stop = () => void closeWorker(worker, handling, log).then(stopped.resolve);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await Promise.race([worker.run(), stopped.promise]);
    // A worker that was told to close ends its loop before it has closed its connections.
    if (signal.aborted) await stopped.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    if (!signal.aborted) await closeWorker(worker, handling, log);
  }
}

/**
 * A worker that works. On Postgres the library looks at the schema once, before anything else, and remembers the answer:
 * where that look fails (the server restarts just then), every later call fails at once, and the worker's loop would
 * never again leave this process time for anything else.
 * @returns undefined when the signal aborted meanwhile.
 */
async function openReady(open: () => LaneWorker, log: Log, signal: AbortSignal): Promise<LaneWorker | undefined> {
  while (!signal.aborted) {
    const worker = open();
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.race([worker.waitUntilReady(), aborted.promise]);
      return worker;
    } catch (err) {
      await closeWorker(worker, new Set(), log);
      if (signal.aborted) return undefined;
      log.warn({ err, queue: laneQueueName }, 'queue worker could not be opened');
    } finally {
      signal.removeEventListener('abort', abort);
    }
    await delay(restMs, undefined, { signal }).catch(() => {});
  }
  return undefined;
}

/** Takes no more wakes, waits for the handlers, and then only briefly for a queue that may be away. */
async function closeWorker(worker: LaneWorker, handling: ReadonlySet<Promise<unknown>>, log: Log): Promise<void> {
  const closing = worker.close();
  while (handling.size > 0) await Promise.allSettled(handling);
  await answered(closing).catch((err: unknown) => {
    log.warn({ err }, 'queue worker could not say good-bye');
    // Not awaited: it waits for the end of a connection that may be between two attempts.
    void worker.disconnect().catch(() => {});
  });
}

/** A bulk insert on Postgres makes a temporary table: a few wakes are faster one by one. */
async function addJobs(queue: LaneQueue, jobs: readonly ReturnType<typeof toJob>[]): Promise<unknown> {
  if (jobs.length > bulkMin) return queue.addBulk([...jobs]);
  return Promise.all(jobs.map((job) => queue.add(job.name, job.data, job.opts)));
}

function toJob(wake: LaneWake) {
  const data = { sessionId: wake.sessionId, generation: wake.generation };
  const { delayMs = 0 } = wake;
  return {
    name: wakeJobName,
    data,
    opts: { jobId: wakeJobId(data), attempts: 1, ...(delayMs > 0 ? { delay: delayMs } : {}) },
  };
}

/** The promise's own result, or an error after `answerMs`: a client whose server is away may wait for it for ever. */
async function answered<Value>(promise: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`the queue did not answer in ${answerMs} ms`)), answerMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
