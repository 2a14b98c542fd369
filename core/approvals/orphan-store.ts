import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';

/** Turns that have ended although a question of theirs is still open: another message interrupted them. */
export async function selectTurnsWithOrphans(db: Db, rowsMax: number): Promise<string[]> {
  const { rows } = await sql<{ turn_id: string }>`
    select distinct a.turn_id from approval a join turn t on t.id = a.turn_id
    where a.state = 'pending' and t.state in ('done', 'failed', 'cancelled') limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => row.turn_id);
}
