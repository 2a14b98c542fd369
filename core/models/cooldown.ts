import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { CooldownStore } from './cooldown-store.ts';
import type { ModelErrorKind } from './model-port.ts';
import type { ModelRef } from './model-ref.ts';
import { createRefresher } from './refresher.ts';

/** The failures that make a model or a credential rest. */
export type CooldownReason = Extract<
  ModelErrorKind,
  'auth' | 'billing' | 'rate' | 'overloaded' | 'transient' | 'timeout' | 'protocol'
>;

/** Marks a cool-down of the whole credential: a wrong key or an empty account fails with every model alike. */
const everyModel = '*';

interface CooldownRule {
  readonly reason: CooldownReason;
  readonly scope: 'model' | 'credential';
  /** First rest; it doubles with each further failure within ten minutes. */
  readonly baseMs: number;
  readonly maxMs: number;
}

const minute = 60_000;

/**
 * How long a failure of this kind makes a model rest; undefined for failures that say nothing about its health. Billing
 * and keys are mended by people, so they rest long but never for good: nobody should have to restart a worker.
 * @param retryAfterMs the provider's own wish, honoured up to one hour.
 */
function cooldownRule(kind: ModelErrorKind, retryAfterMs: number | undefined): CooldownRule | undefined {
  switch (kind) {
    case 'auth':
      return { reason: kind, scope: 'credential', baseMs: 5 * minute, maxMs: 30 * minute };
    case 'billing':
      return { reason: kind, scope: 'credential', baseMs: 10 * minute, maxMs: 60 * minute };
    case 'rate': {
      const wish = Math.min(retryAfterMs ?? 30_000, 60 * minute);
      return { reason: kind, scope: 'model', baseMs: Math.max(wish, 1000), maxMs: Math.max(wish, 5 * minute) };
    }
    case 'overloaded':
    case 'timeout':
      return { reason: kind, scope: 'model', baseMs: 30_000, maxMs: 5 * minute };
    case 'transient':
    case 'protocol':
      return { reason: kind, scope: 'model', baseMs: 15_000, maxMs: 5 * minute };
    case 'aborted':
    case 'context':
    case 'content':
    case 'invalid':
      return undefined;
  }
}

/** How late a cool-down another worker started may be noticed here. */
const refreshMs = 5_000;

export interface Cooldowns {
  /** Why and for how much longer this model rests; undefined when it may be called. */
  resting(ref: ModelRef): Promise<{ readonly reason: CooldownReason; readonly remainingMs: number } | undefined>;
  /** Notes a failure that ended the attempts on this model. */
  failed(ref: ModelRef, kind: ModelErrorKind, retryAfterMs: number | undefined): Promise<void>;
  /** Notes a success; costs nothing unless a cool-down is known. */
  succeeded(ref: ModelRef): Promise<void>;
  /** Reads the other workers' cool-downs again now. */
  refresh(): Promise<void>;
}

interface Rest {
  readonly reason: CooldownReason;
  readonly untilMs: number;
}

/**
 * Cool-downs per provider and model, shared by all workers through the store and answered from memory. When the store
 * fails the cool-down still holds in this process.
 */
export function createCooldowns(deps: {
  readonly store: CooldownStore;
  readonly clock: Clock;
  readonly log: Log;
}): Cooldowns {
  const now = (): number => deps.clock.now().getTime();
  const rows = createRefresher({
    load: async () => {
      const list = await deps.store.list();
      return new Map(
        list.map((row): [string, Rest] => [
          `${row.provider}:${row.model}`,
          { reason: row.reason, untilMs: now() + row.remainingMs },
        ]),
      );
    },
    fallback: new Map<string, Rest>(),
    refreshMs,
    clock: deps.clock,
    log: deps.log,
    what: 'model cool-downs',
  });
  const keys = (ref: ModelRef): string[] => [`${ref.provider}:${ref.model}`, `${ref.provider}:${everyModel}`];

  return {
    resting: async (ref) => {
      const known = await rows.current();
      for (const key of keys(ref)) {
        const rest = known.get(key);
        if (rest === undefined) continue;
        const remainingMs = rest.untilMs - now();
        if (remainingMs > 0) return { reason: rest.reason, remainingMs };
      }
      return undefined;
    },
    failed: async (ref, kind, retryAfterMs) => {
      const rule = cooldownRule(kind, retryAfterMs);
      if (rule === undefined) return;
      const model = rule.scope === 'model' ? ref.model : everyModel;
      let remainingMs = rule.baseMs;
      try {
        remainingMs = await deps.store.start({ ...rule, provider: ref.provider, model });
      } catch (err) {
        deps.log.warn({ err, model: ref.text }, 'model cool-down could not be shared');
      }
      const known = await rows.current();
      known.set(`${ref.provider}:${model}`, { reason: rule.reason, untilMs: now() + remainingMs });
    },
    succeeded: async (ref) => {
      const known = await rows.current();
      if (!keys(ref).some((key) => known.delete(key))) return;
      try {
        await deps.store.clear(ref.provider, ref.model);
      } catch (err) {
        deps.log.warn({ err, model: ref.text }, 'model cool-down could not be cleared');
      }
    },
    refresh: () => rows.refresh(),
  };
}
