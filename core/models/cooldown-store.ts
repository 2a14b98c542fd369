import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';
import type { CooldownReason } from './cooldown.ts';

/** A cool-down that is still running, with the time left by the database's clock. */
interface CooldownRow {
  readonly provider: string;
  readonly model: string;
  readonly reason: CooldownReason;
  readonly remainingMs: number;
  readonly failures: number;
}

export interface CooldownStore {
  list(): Promise<CooldownRow[]>;
  /**
   * Starts or extends a cool-down; a running one is never shortened. Failures are counted on while the last one is
   * younger than ten minutes, so that a model that keeps failing rests longer each time.
   */
  start(row: {
    provider: string;
    model: string;
    reason: CooldownReason;
    baseMs: number;
    maxMs: number;
  }): Promise<number>;
  /** Ends a cool-down after a success. */
  clear(provider: string, model: string): Promise<void>;
}

export function createCooldownStore(deps: { readonly db: Db }): CooldownStore {
  return {
    list: async () => {
      const { rows } = await sql<{
        provider: string;
        model: string;
        reason: CooldownReason;
        remaining_ms: number;
        failures: number;
      }>`
        select provider, model, reason, failures,
          (extract(epoch from until - clock_timestamp()) * 1000)::float8 as remaining_ms
        from model_cooldown where until > clock_timestamp()`.execute(deps.db);
      return rows.map((row) => ({
        provider: row.provider,
        model: row.model,
        reason: row.reason,
        remainingMs: row.remaining_ms,
        failures: row.failures,
      }));
    },
    start: async ({ provider, model, reason, baseMs, maxMs }) => {
      const { rows } = await sql<{ remaining_ms: number }>`
        insert into model_cooldown as c (provider, model, reason, until)
        values (${provider}, ${model}, ${reason}, clock_timestamp() + ${baseMs} * interval '1 millisecond')
        on conflict (provider, model) do update set
          reason = excluded.reason,
          failures = case when c.updated_at > clock_timestamp() - interval '10 minutes'
            then least(c.failures + 1, 20) else 1 end,
          until = greatest(c.until, clock_timestamp() + interval '1 millisecond' * least(${maxMs}::float8,
            ${baseMs}::float8 * case when c.updated_at > clock_timestamp() - interval '10 minutes'
              then 2 ^ least(c.failures, 20) else 1 end)),
          updated_at = clock_timestamp()
        returning (extract(epoch from until - clock_timestamp()) * 1000)::float8 as remaining_ms`.execute(deps.db);
      return rows[0]?.remaining_ms ?? baseMs;
    },
    clear: async (provider, model) => {
      await sql`delete from model_cooldown where provider = ${provider} and model in (${model}, '*')`.execute(deps.db);
    },
  };
}
