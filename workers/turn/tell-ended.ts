import type { ClaimedTurn, TurnOutcome } from '#core/lanes/lane.ts';
import type { TurnEndState } from '../hooks/hook-news.ts';
import { readTrajectory } from './read-trajectory.ts';
import { toWork } from './run-claimed-turn.ts';
import type { TurnDeps } from './turn-deps.ts';

/** Ends whose news are being put together; beyond, an end is told by the log alone. */
const runningMax = 500;

/** Tells hooks of turns whose end is on record. Nobody waits for it; disposing waits for what has begun. */
export class EndedTurns implements AsyncDisposable {
  readonly #deps: Pick<TurnDeps, 'db' | 'log' | 'hooks' | 'findAgent'>;
  readonly #running = new Set<Promise<void>>();

  constructor(deps: Pick<TurnDeps, 'db' | 'log' | 'hooks' | 'findAgent'>) {
    this.#deps = deps;
  }

  tell(turn: ClaimedTurn, { state, errorCode }: Pick<TurnOutcome, 'state' | 'errorCode'>): void {
    if (state !== 'done' && state !== 'failed' && state !== 'cancelled') return;
    const { log } = this.#deps;
    if (this.#running.size >= runningMax) {
      log.warn({ turnId: turn.id, runningMax }, 'hooks are not told of an ended turn: too many end at once');
      return;
    }
    const run = this.#tell(turn, state, errorCode).catch((err: unknown) => {
      log.warn({ err, turnId: turn.id }, 'hooks could not be told of an ended turn');
    });
    this.#running.add(run);
    void run.then(() => this.#running.delete(run));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running);
  }

  async #tell(turn: ClaimedTurn, state: TurnEndState, code: string | undefined): Promise<void> {
    const { db, hooks, findAgent } = this.#deps;
    const agent = await findAgent(turn.agentName, turn.agentVersion);
    const work = toWork(turn);
    hooks.tell({ kind: 'job_completed', agent, work, state, code });
    if (!hooks.wantsNews('turn_trajectory', agent)) return;
    hooks.tell({ kind: 'turn_trajectory', agent, work, state, ...(await readTrajectory(db, work)) });
  }
}
