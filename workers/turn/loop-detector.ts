import { canonicalJson } from '#core/kit/json.ts';

/** From this identical call on, the model is told that it repeats itself. */
const warnAt = 2;
/** From this one on, the call is refused without being carried out. */
const blockAt = 4;
/** At this one the turn ends: a model that ignores five refusals will not stop by itself. */
const endAt = 9;

export type LoopVerdict = 'go' | 'warn' | 'block' | 'end';

/** Counts identical tool calls of one turn. Its state is derived from the turn's log, so it survives a crash. */
export class LoopDetector {
  readonly #counts = new Map<string, number>();

  /** Counts one more call of `name` with these arguments and says what to do with it. */
  observe(name: string, args: unknown): LoopVerdict {
    const key = `${name} ${canonicalJson(args)}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    if (count >= endAt) return 'end';
    if (count >= blockAt) return 'block';
    return count >= warnAt ? 'warn' : 'go';
  }
}
