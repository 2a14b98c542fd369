import type { ClaimedTurn, LaneWake, TurnMode, TurnOutcome } from '#core/lanes/lane.ts';
import {
  acceptRows,
  boundaryRows,
  cancelLaneRow,
  claimRows,
  finishRows,
  readyLanes,
  reapRows,
  rearmRows,
  resumeRows,
} from '#core/lanes/lane-store.ts';
import type { TestDatabase } from './database.ts';
import { addSessions, addWorker, newTurn, outboxItem } from './lanes.ts';

const calmModes: readonly TurnMode[] = ['followup', 'followup', 'steer', 'collect'];
const lanes = 6;
const connections = 4;
/** Rounds after which a lane that has not ended counts as stuck. */
const drainRoundsMax = 1000;

/** Pseudo-random numbers that repeat for a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Four racing connections do random things to six lanes: accept in every mode, claim, reach boundaries, finish, park,
 * resume, cancel, crash, come back from the dead; wakes are dropped, doubled and taken in any order. Afterwards
 * everything is driven to its end.
 * @returns what broke an invariant (I1 to I9 of the lane design); empty when nothing did.
 */
export async function runLaneScenario(database: TestDatabase, seed: number, steps: number): Promise<string[]> {
  return new Scenario(database, seededRandom(seed), steps).run();
}

class Scenario {
  readonly #database: TestDatabase;
  readonly #random: () => number;
  readonly #broken: string[] = [];
  readonly #wakes: LaneWake[] = [];
  readonly #fences = new Set<string>();
  readonly #accepted = new Set<string>();
  /** `<session>/<seq>` of turns whose cancel was acknowledged while they ran. */
  readonly #cancelled = new Set<string>();
  readonly #dead: string[] = [];
  #steps: number;
  #sessions: string[] = [];

  constructor(database: TestDatabase, random: () => number, steps: number) {
    this.#database = database;
    this.#random = random;
    this.#steps = steps;
  }

  async run(): Promise<string[]> {
    this.#sessions = await addSessions(this.#database, lanes);
    await Promise.all(Array.from({ length: connections }, () => this.#drive()));
    await this.#drain();
    await this.#checkEnd();
    return this.#broken;
  }

  async #drive(): Promise<void> {
    const hands: Hands = { worker: await addWorker(this.#database), held: [], zombies: [] };
    while (this.#steps > 0 && this.#broken.length === 0) {
      this.#steps -= 1;
      await this.#guard(() => this.#step(hands));
      if (this.#steps % 25 === 0) await this.#checkNow();
    }
    this.#dead.push(hands.worker);
  }

  async #guard(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (err) {
      this.#broken.push(`the database raised: ${err instanceof Error ? err.message : String(err)}`);
    }
  }

  async #step(hands: Hands): Promise<void> {
    const dice = this.#random();
    if (dice < 0.25) await this.#accept();
    else if (dice < 0.55) await this.#claim(hands);
    else if (dice < 0.63) await this.#boundary(hands);
    else if (dice < 0.82) await this.#finish(hands);
    else if (dice < 0.88) await this.#resume();
    else if (dice < 0.92) await this.#cancel();
    else if (dice < 0.94) await this.#crash(hands);
    else if (dice < 0.955) this.#ring(await reapRows(this.#database.db, this.#dead));
    else if (dice < 0.98) await this.#zombie(hands);
    else await this.#rearm();
  }

  async #accept(): Promise<void> {
    const modes = this.#random() < 0.1 ? (['interrupt'] as const) : calmModes;
    const turns = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () =>
      newTurn(this.#pick(this.#sessions), { mode: this.#pick(modes), debounceMs: 2, maxWaitMs: 4 }),
    );
    const known = [...this.#accepted];
    // Now and then a platform delivers again.
    if (this.#random() < 0.1 && known.length > 0)
      turns.push({ ...newTurn(this.#pick(this.#sessions)), eventKey: this.#pick(known) });
    const results = await acceptRows(this.#database.db, turns);
    for (const turn of turns) this.#accepted.add(turn.eventKey);
    this.#ring(results.flatMap(({ wake }) => (wake === undefined ? [] : [wake])));
  }

  #ring(wakes: readonly LaneWake[]): void {
    for (const wake of wakes) {
      const dice = this.#random();
      if (dice < 0.15) continue;
      this.#wakes.push(wake);
      if (dice > 0.85) this.#wakes.push(wake);
    }
  }

  async #claim(hands: Hands): Promise<void> {
    const taken = new Set<string>();
    for (let count = 1 + Math.floor(this.#random() * 2); count > 0 && this.#wakes.length > 0; count--) {
      const [wake] = this.#wakes.splice(Math.floor(this.#random() * this.#wakes.length), 1);
      if (wake !== undefined) taken.add(wake.sessionId);
    }
    if (taken.size === 0) return;
    const sessions = [...taken];
    const claims = await claimRows(this.#database.db, sessions, hands.worker);
    claims.forEach((claim, index) => {
      if (claim.state === 'turn') this.#hold(hands, claim.turn);
      else if (claim.state === 'early') this.#wakes.push({ sessionId: sessions[index] ?? '', generation: 0 });
    });
  }

  #hold(hands: Hands, turn: ClaimedTurn): void {
    const fence = `${turn.sessionId}/${turn.fence}`;
    if (this.#fences.has(fence)) this.#broken.push(`I7: fence ${turn.fence} was given twice`);
    this.#fences.add(fence);
    hands.held.push(turn);
  }

  async #boundary(hands: Hands): Promise<void> {
    if (hands.held.length === 0) return;
    const turn = this.#pick(hands.held);
    const [verdict] = await boundaryRows(this.#database.db, [
      { lease: turn, events: [{ kind: 'notice', payload: {} }] },
    ]);
    if (verdict?.state === 'fenced') this.#broken.push('the living owner of a lane was fenced off at a boundary');
  }

  async #finish(hands: Hands): Promise<void> {
    const turns = hands.held.splice(0, 1 + Math.floor(this.#random() * 2));
    if (turns.length === 0) return;
    const verdicts = await finishRows(
      this.#database.db,
      turns.map((turn) => ({ lease: turn, outcome: this.#outcome(turn), keepRunning: this.#random() < 0.4 })),
    );
    for (const verdict of verdicts) {
      if (verdict.state === 'fenced') this.#broken.push('the living owner of a lane was fenced off at its end');
      if (verdict.state === 'ready') this.#ring([verdict.wake]);
      if (verdict.state === 'running') this.#hold(hands, verdict.next);
    }
  }

  #outcome(turn: ClaimedTurn): TurnOutcome {
    const dice = this.#random();
    if (dice < 0.2) return { state: 'waiting', waitingFor: 'approval' };
    if (dice < 0.25) return { state: 'released' };
    const state = dice < 0.35 ? 'failed' : 'done';
    const effect = { ...outboxItem(`${turn.id}/${turn.fence}`, state), turnId: turn.id };
    return {
      state,
      events: [{ kind: 'turn_ended', payload: { seq: turn.seq } }],
      ...(state === 'done' ? { outbox: [effect] } : {}),
    };
  }

  async #resume(): Promise<void> {
    const rows = await this.#database.query<{ id: string }>(
      `select id from turn where session_id = $1 and state in ('waiting', 'running', 'done')`,
      [this.#pick(this.#sessions)],
    );
    if (rows.length > 0) this.#ring(await resumeRows(this.#database.db, [this.#pick(rows).id]));
  }

  async #cancel(): Promise<void> {
    const session = this.#pick(this.#sessions);
    const heads = await this.#database.query<{ head_seq: number; fence: number }>(
      `select head_seq, fence from lane where session_id = $1 and state = 'running'`,
      [session],
    );
    const result = await cancelLaneRow(this.#database.db, session, this.#random() < 0.3);
    if (result.wake !== undefined) this.#ring([result.wake]);
    if (!result.isRunningAsked) return;
    // The head that was asked is known for certain only if it was the same before and after.
    const after = await this.#database.query<{ cancel_seq: number }>(
      'select cancel_seq from lane where session_id = $1',
      [session],
    );
    const [head] = heads;
    if (head !== undefined && after[0]?.cancel_seq === head.head_seq)
      this.#cancelled.add(`${session}/${head.head_seq}`);
  }

  /** The process dies: its turns become zombies' memories, and a new process takes its place. */
  async #crash(hands: Hands): Promise<void> {
    this.#dead.push(hands.worker);
    hands.zombies.push(...hands.held.splice(0));
    hands.worker = await addWorker(this.#database);
  }

  /** A process that was only frozen goes on where it was. */
  async #zombie(hands: Hands): Promise<void> {
    if (hands.zombies.length === 0) return;
    const turn = this.#pick(hands.zombies);
    // Its lanes are taken from it first, as after a time to live; one that is locked right now is taken later.
    this.#ring(await reapRows(this.#database.db, this.#dead));
    const owned = await this.#database.query(
      `select 1 from lane where session_id = $1 and fence = $2 and owner = any ($3::uuid[])`,
      [turn.sessionId, turn.fence, this.#dead],
    );
    if (owned.length > 0) return;
    // Often the very turn runs again already when the zombie writes.
    const [claim] = await claimRows(this.#database.db, [turn.sessionId], hands.worker);
    if (claim?.state === 'turn') this.#hold(hands, claim.turn);
    if (this.#random() < 0.5) {
      await boundaryRows(this.#database.db, [{ lease: turn, events: [{ kind: 'zombie', payload: {} }] }]);
      return;
    }
    const effect = { ...outboxItem(`${turn.id}/zombie`, 'zombie'), turnId: turn.id };
    await finishRows(this.#database.db, [{ lease: turn, outcome: { state: 'done', outbox: [effect] } }]);
  }

  async #rearm(): Promise<void> {
    this.#ring(await rearmRows(this.#database.db, await readyLanes(this.#database.db, undefined, 100)));
  }

  /** Invariants that hold in every committed state. */
  async #checkNow(): Promise<void> {
    const rows = await this.#database.query(
      `select l.session_id from lane l where l.session_id = any ($1::uuid[]) and l.state = 'idle'
         and exists (select 1 from turn t where t.session_id = l.session_id and t.state = 'queued')`,
      [this.#sessions],
    );
    if (rows.length > 0) this.#broken.push('I3: an idle lane has queued turns');
  }

  async #drain(): Promise<void> {
    const hands: Hands = { worker: await addWorker(this.#database), held: [], zombies: [] };
    for (let round = 0; round < drainRoundsMax && this.#broken.length === 0; round++) {
      await this.#guard(async () => {
        this.#ring(await reapRows(this.#database.db, this.#dead));
        const waiting = await this.#database.query<{ id: string }>(
          `select id from turn where session_id = any ($1::uuid[]) and state = 'waiting'`,
          [this.#sessions],
        );
        this.#ring(
          await resumeRows(
            this.#database.db,
            waiting.map((row) => row.id),
          ),
        );
        await this.#rearm();
        await this.#claim(hands);
        await this.#finish(hands);
        await this.#checkNow();
      });
      const open = await this.#database.query(
        `select 1 from turn where session_id = any ($1::uuid[]) and state in ('queued', 'running', 'waiting') limit 1`,
        [this.#sessions],
      );
      if (open.length === 0) return;
    }
    if (this.#broken.length === 0) this.#broken.push('I5/I8: some turns never end');
  }

  async #checkEnd(): Promise<void> {
    const check = async (name: string, text: string): Promise<void> => {
      const rows = await this.#database.query(text, [this.#sessions]);
      if (rows.length > 0) this.#broken.push(`${name} (${rows.length})`);
    };
    await check(
      'I2: turns of a lane ended out of order',
      `select 1 from (
         select session_id, (payload ->> 'seq')::int as turn_seq,
           lag((payload ->> 'seq')::int) over (partition by session_id order by seq) as before
         from event where kind = 'turn_ended' and session_id = any ($1::uuid[])) e where turn_seq <= before`,
    );
    await check(
      'I4: a done turn without exactly one effect under its own fence',
      `select 1 from turn t left join outbox o on o.turn_id = t.id
       where t.session_id = any ($1::uuid[]) and t.state = 'done'
       group by t.id having count(o.id) <> 1 or min(o.key) <> t.id || '/' || t.fence`,
    );
    await check(
      'I4/I6: a turn that is not done has an effect',
      `select 1 from turn t join outbox o on o.turn_id = t.id
       where t.session_id = any ($1::uuid[]) and t.state <> 'done'`,
    );
    await check(
      'I5: absorbed into a turn that did not end',
      `select 1 from turn t left join turn h on h.session_id = t.session_id and h.seq = t.into_seq
       where t.session_id = any ($1::uuid[]) and t.state = 'absorbed'
         and (h.id is null or h.state not in ('done', 'failed', 'cancelled'))`,
    );
    await check('a zombie wrote', `select 1 from event where kind = 'zombie' and session_id = any ($1::uuid[])`);
    const turns = await this.#database.query<{ key: string; state: string; event_key: string }>(
      `select session_id || '/' || seq as key, state, event_key from turn where session_id = any ($1::uuid[])`,
      [this.#sessions],
    );
    for (const turn of turns) {
      if (this.#cancelled.has(turn.key) && turn.state !== 'cancelled') {
        this.#broken.push(`I6: a cancelled turn is ${turn.state}`);
      }
    }
    const stored = new Set(turns.map((turn) => turn.event_key));
    for (const key of this.#accepted) if (!stored.has(key)) this.#broken.push(`I5: event ${key} is lost`);
    if (stored.size !== turns.length) this.#broken.push('an event became two turns');
  }

  #pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.#random() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

interface Hands {
  worker: string;
  readonly held: ClaimedTurn[];
  readonly zombies: ClaimedTurn[];
}

/** Replaces text inside a database function: a mutant that the scenario has to catch. */
export async function mutateFunction(
  database: TestDatabase,
  name: string,
  change: readonly [from: string, to: string],
): Promise<void> {
  const [row] = await database.query<{ text: string }>('select pg_get_functiondef($1::regproc) as text', [name]);
  const text = row?.text ?? '';
  const mutated = text.replaceAll(change[0], change[1]);
  if (mutated === text) throw new Error(`${name} does not contain ${change[0]}`);
  await database.query(mutated);
}
