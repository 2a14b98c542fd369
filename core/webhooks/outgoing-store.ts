import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toStorableJson, toWellFormed } from '../kit/json.ts';
import type { OutgoingCall, OutgoingRecord } from './webhook.ts';

/** Makes the endpoints equal to those of the settings. */
export async function replaceEndpoints(
  tx: Tx,
  endpoints: readonly { readonly id: string; readonly host: string; readonly events: readonly string[] }[],
): Promise<void> {
  await sql`delete from webhook_endpoint where id <> all (${endpoints.map(({ id }) => id)}::text[])`.execute(tx);
  for (const { id, host, events } of endpoints) {
    await sql`
      insert into webhook_endpoint (id, host, events) values (${id}, ${host}, ${[...events]}::text[])
      on conflict (id) do update set host = excluded.host, events = excluded.events, updated_at = clock_timestamp()
    `.execute(tx);
  }
}

/** Owes a call to every endpoint that wants this event, once per event id. */
export async function putWebhookEvent(
  tx: Tx,
  event: { readonly event: string; readonly eventId: string; readonly payload: unknown },
): Promise<void> {
  await sql`select outgoing_put(${event.event}, ${event.eventId}, ${toStorableJson(event.payload)}::jsonb)`.execute(tx);
}

/** Owes an e-mail, once per event and address. */
export async function putEmail(
  tx: Tx,
  mail: { readonly to: string; readonly event: string; readonly eventId: string; readonly payload: unknown },
): Promise<void> {
  await sql`
    insert into outgoing (id, kind, target, event_id, event, payload)
    values (${newId()}, 'email', ${mail.to}, ${mail.eventId}, ${mail.event}, ${toStorableJson(mail.payload)}::jsonb)
    on conflict (kind, target, event_id) do nothing
  `.execute(tx);
}

const callSchema = z.object({
  id: z.string(),
  kind: z.enum(['webhook', 'email']),
  target: z.string(),
  event_id: z.string(),
  event: z.string(),
  payload: z.unknown(),
  attempts: z.number(),
  created_at: z.date(),
});

/** Gives up the calls to endpoints that are not set up any more. */
export async function buryOrphans(db: Db): Promise<void> {
  await sql`
    update outgoing o set state = 'dead', closed_at = clock_timestamp(), leased_until = null,
      last_error = 'this web hook is not set up any more'
    where state = 'pending' and kind = 'webhook' and not exists (select from webhook_endpoint e where e.id = o.target)
  `.execute(db);
}

/** Leases what is due; a try counts from here, so that one that kills its worker is not made for ever. */
export async function claimCalls(
  db: Db,
  options: {
    readonly rowsMax: number;
    readonly leaseMs: number;
    /** The endpoints this process knows: during a change of settings another one may know others. */
    readonly endpointIds: readonly string[];
    readonly canMail: boolean;
  },
): Promise<OutgoingCall[]> {
  const { rows } = await sql`
    update outgoing o set attempts = o.attempts + 1,
      leased_until = clock_timestamp() + make_interval(secs => ${options.leaseMs / 1000})
    where o.id in (
      select id from outgoing
      where state = 'pending' and not_before <= clock_timestamp()
        and (leased_until is null or leased_until <= clock_timestamp())
        and ((kind = 'email' and ${options.canMail}) or target = any (${[...options.endpointIds]}::text[]))
      order by not_before limit ${options.rowsMax} for update skip locked)
    returning id, kind, target, event_id, event, payload, attempts, created_at
  `.execute(db);
  return rows.map((raw) => {
    const row = callSchema.parse(raw);
    return {
      id: row.id,
      kind: row.kind,
      target: row.target,
      eventId: row.event_id,
      event: row.event,
      payload: row.payload,
      attempts: row.attempts,
      createdAt: row.created_at,
    };
  });
}

/** Records how a try ended: done, given up, or due again after a pause. */
export async function recordCall(
  db: Db,
  id: string,
  outcome: { readonly state: 'delivered' | 'dead' | 'pending'; readonly reason?: string; readonly afterMs?: number },
): Promise<void> {
  await sql`
    update outgoing set state = ${outcome.state}, leased_until = null,
      last_error = ${outcome.reason === undefined ? null : toWellFormed(outcome.reason).slice(0, 300)},
      not_before = clock_timestamp() + make_interval(secs => ${(outcome.afterMs ?? 0) / 1000}),
      closed_at = ${outcome.state === 'pending' ? null : sql`clock_timestamp()`}
    where id = ${id} and state = 'pending'
  `.execute(db);
}

const recordSchema = callSchema.omit({ payload: true }).extend({
  state: z.enum(['pending', 'delivered', 'dead']),
  last_error: z.string().nullable(),
  not_before: z.date(),
  closed_at: z.date().nullable(),
  host: z.string().nullable(),
});

/** The latest calls, newest first. */
export async function selectCalls(
  db: Db,
  filter: { readonly state?: OutgoingRecord['state']; readonly rowsMax: number },
): Promise<OutgoingRecord[]> {
  const { rows } = await sql`
    select o.id, o.kind, o.target, o.event_id, o.event, o.attempts, o.created_at, o.state, o.last_error, o.not_before,
      o.closed_at, e.host
    from outgoing o left join webhook_endpoint e on o.kind = 'webhook' and e.id = o.target
    where (${filter.state ?? null}::text is null or o.state = ${filter.state ?? null})
    order by o.created_at desc, o.id desc limit ${filter.rowsMax}
  `.execute(db);
  return rows.map((raw) => {
    const row = recordSchema.parse(raw);
    return {
      id: row.id,
      kind: row.kind,
      target: row.target,
      eventId: row.event_id,
      event: row.event,
      attempts: row.attempts,
      createdAt: row.created_at,
      state: row.state,
      lastError: row.last_error ?? undefined,
      notBefore: row.not_before,
      closedAt: row.closed_at ?? undefined,
      host: row.host ?? undefined,
    };
  });
}

/** Makes calls due again with all their tries: one, or every one that was given up. @returns how many. */
export async function retryRows(db: Db, which: { readonly id: string } | 'dead'): Promise<number> {
  const id = which === 'dead' ? null : which.id;
  const result = await sql`
    update outgoing set state = 'pending', closed_at = null, attempts = 0, not_before = clock_timestamp(),
      leased_until = null
    where (id = ${id}::uuid and state <> 'delivered') or (${id}::uuid is null and state = 'dead')
  `.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}

/** Forgets calls that are long over. */
export async function pruneCalls(db: Db): Promise<void> {
  await sql`
    delete from outgoing
    where (state = 'delivered' and closed_at < clock_timestamp() - interval '7 days')
      or (state = 'dead' and closed_at < clock_timestamp() - interval '30 days')
  `.execute(db);
}
