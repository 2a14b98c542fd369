import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';

/** Longest a first post of each importance is worth saying, in seconds; results and approvals always are. */
const worthSeconds = { progress: 60, digest: 12 * 3600, notice: 24 * 3600 };

/** Sets aside what is not worth saying any more. @returns how many messages. */
export async function markStale(db: Db): Promise<number> {
  const result = await sql`
    update outbox o set state = 'dead', last_error = 'too old to be worth saying',
      -- Old progress is given up as a matter of course; of anything else the operator hears.
      dismissed_at = case when o.importance = 'progress' then clock_timestamp() end
    where o.state = 'pending' and (
      o.expires_at <= clock_timestamp() and (o.platform_ids is null or not o.is_final)
      or (o.platform_ids is null and o.revised_at < clock_timestamp() - make_interval(secs => case o.importance
        when 'progress' then ${worthSeconds.progress}::float8
        when 'digest' then ${worthSeconds.digest}::float8
        when 'notice' then ${worthSeconds.notice}::float8 end))
      -- A preview nobody has seen, of a turn that has said its last word since.
      or (not o.is_final and o.platform_ids is null and exists (
        select 1 from turn t where t.id = o.turn_id and t.state in ('done', 'failed', 'cancelled'))))
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}

/**
 * Ends previews whose turn is over without their final words, because its worker died too often: what was shown stays,
 * and says that nothing follows. @returns how many.
 */
export async function endPreviews(db: Db): Promise<number> {
  const result = await sql`
    update outbox o set is_final = true, state = 'pending', revision = o.revision + 1, revised_at = clock_timestamp(),
      expires_at = null,
      body = jsonb_set(o.body, '{parts}', o.body -> 'parts'
        || '[{"type": "notice", "level": "warn", "markdown": "This broke off here."}]'::jsonb)
    where not o.is_final and o.state = 'sent' and o.platform_ids is not null and exists (
      select 1 from turn t where t.id = o.turn_id and t.state in ('done', 'failed', 'cancelled')
        -- Its last words are written with its end; what is written later finds the preview ended.
        and t.finished_at < clock_timestamp() - interval '10 seconds')
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}
