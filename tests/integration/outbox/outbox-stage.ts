import type { KyselyPlugin, QueryId } from 'kysely';
import { pino } from 'pino';
import { expect } from 'vitest';
import type { Db } from '#core/kit/database.ts';
import { newId } from '#core/kit/ids.ts';
import { type NewMessage, putMessages } from '#core/outbox/put-messages.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import type { ScriptedPlatform } from '#tests/support/scripted-platform.ts';
import { DeliveryLoop, type DeliveryLoopDeps } from '#workers/delivery/delivery-loop.ts';

/** An outbox in a database of its own, and workers that deliver from it. */
export class OutboxStage implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly log = pino({ level: 'silent' });
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #loops: DeliveryLoop[] = [];
  /** How often each loop has asked what is due, and was answered. */
  readonly #looks: { count: number }[] = [];

  private constructor(database: TestDatabase) {
    this.database = database;
  }

  static async open(): Promise<OutboxStage> {
    return new OutboxStage(await openTestDatabase(6));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
    await this.database[Symbol.asyncDispose]();
  }

  /** A worker that is alive as far as anybody knows. */
  async enlist(): Promise<string> {
    const owner = newId();
    await this.database.query(`insert into worker (id, host, beat_at) values ($1, 'here', clock_timestamp())`, [owner]);
    return owner;
  }

  /** Starts a worker's deliveries. */
  async run(sender: ScriptedPlatform, deps: Partial<DeliveryLoopDeps> = {}): Promise<DeliveryLoop> {
    const owner = deps.owner ?? (await this.enlist());
    const looks = { count: 0 };
    const loop = new DeliveryLoop({
      db: countingLooks(this.database.db, looks),
      log: this.log,
      sender,
      owner,
      ...deps,
    });
    this.#looks.push(looks);
    this.#running.push(loop.run(this.#stop.signal));
    this.#loops.push(loop);
    return loop;
  }

  /** Puts a message into the outbox under a key of room and text, unless told otherwise. */
  async says(room: string, text: string, more: Partial<NewMessage> & { thread?: string } = {}): Promise<void> {
    const { thread, ...message } = more;
    const conversation: Conversation = {
      channel: 'telegram',
      account: '7',
      room,
      kind: 'group',
      ...(thread === undefined ? {} : { thread }),
    };
    await putMessages(this.database.db, [
      {
        key: `${room}:${text}`,
        conversation,
        importance: 'result',
        body: { parts: [{ type: 'markdown', markdown: text }] },
        ...message,
      },
    ]);
    // The bell of the database, which a process hears by its own connection.
    for (const loop of this.#loops) loop.nudge();
  }

  async states(): Promise<Record<string, string>> {
    const rows = await this.database.query<{ key: string; state: string }>('select key, state from outbox');
    return Object.fromEntries(rows.map((row) => [row.key, row.state]));
  }

  /** Waits until nothing is on its way any more. */
  async settled(): Promise<void> {
    await eventually(async () => {
      const [row] = await this.database.query<{ count: number }>(
        `select count(*)::int as count from outbox where state in ('pending', 'sending')`,
      );
      if (row?.count !== 0) throw new Error(`still under way: ${JSON.stringify(await this.states())}`);
    });
  }

  /** Waits until every loop has looked at the outbox as it is now, and has begun what it found due. */
  async looked(): Promise<void> {
    for (const loop of this.#loops) loop.nudge();
    // The first answer may be of a look that had begun before, and of the last one not everything is begun yet.
    const enough = this.#looks.map(({ count }) => count + 3);
    await eventually(() => {
      for (const loop of this.#loops) loop.nudge();
      expect(this.#looks.every(({ count }, index) => count >= (enough[index] ?? 0))).toBe(true);
    });
  }
}

/** The same database, which counts the answers to the question what is due. */
function countingLooks(db: Db, looks: { count: number }): Db {
  const asked = new WeakSet<QueryId>();
  const plugin: KyselyPlugin = {
    transformQuery: ({ node, queryId }) => {
      const isLook = node.kind === 'RawNode' && node.sqlFragments.some((text) => text.includes('outbox_claim('));
      if (isLook) asked.add(queryId);
      return node;
    },
    transformResult: async ({ queryId, result }) => {
      if (asked.has(queryId)) looks.count += 1;
      return await Promise.resolve(result);
    },
  };
  return db.withPlugin(plugin);
}
