import { type Kysely, sql } from 'kysely';

/**
 * Tells whoever follows a console or web conversation when a turn begins, waits or ends. A trigger, because the word
 * must go out with the commit that made it true: the reader then looks at the outbox and must find the answer there.
 * Turns of chat platforms cost one comparison.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function turn_announce() returns trigger language plpgsql as $$
    declare
      into_id uuid;
      asked_id uuid;
    begin
      if new.state = 'absorbed' then
        select t.id into into_id from turn t where t.session_id = new.session_id and t.seq = new.into_seq;
      elsif new.state = 'waiting' then
        select a.id into asked_id from approval a where a.turn_id = new.id and a.state = 'pending' limit 1;
      end if;
      perform pg_notify('turn_state', json_strip_nulls(json_build_object(
        'kind', 'turn',
        'threadKey', (select s.thread_key from session s where s.id = new.session_id),
        'sessionId', new.session_id,
        'turnId', new.id,
        'state', case new.state when 'running' then 'started' else new.state end,
        'messageId', new.payload ->> 'messageId',
        'intoTurnId', into_id,
        'waitingFor', new.waiting_for,
        'approvalId', asked_id))::text);
      return null;
    end $$;

    create trigger turn_announce after update of state on turn for each row
      when (new.origin ->> 'channel' in ('console', 'web') and new.state <> 'queued' and new.state <> old.state)
      execute function turn_announce();
  `.execute(db);
}
