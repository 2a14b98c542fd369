import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';

/** Sets aside what is not worth saying any more. @returns how many messages. */
export async function markStale(db: Db): Promise<number> {
  const result = await sql`
    update outbox o set state = 'dead', last_error = 'too old to be worth saying'
    where o.state = 'pending' and (
      o.expires_at <= clock_timestamp()
      -- A preview nobody has seen, of a turn that has said its last word since.
      or (not o.is_final and o.platform_ids is null and exists (
        select 1 from turn t where t.id = o.turn_id and t.state in ('done', 'failed', 'cancelled'))))
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}
