import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { toStorableJson } from '../kit/json.ts';
import { type Offer, type OfferPayload, offerPayloadSchema } from './offer.ts';

export interface OfferButton {
  readonly tokenHash: string;
  readonly isAccepting: boolean;
  readonly threadKey: string;
}

export async function insertOffer(
  tx: Tx,
  offer: {
    readonly id: string;
    readonly payload: OfferPayload;
    readonly personId: string | undefined;
    readonly validMs: number;
    readonly buttons: readonly OfferButton[];
  },
): Promise<void> {
  await sql`
    insert into offer (id, kind, payload, person_id, expires_at)
    values (${offer.id}, ${offer.payload.subject.kind}, ${toStorableJson(offer.payload)}::jsonb,
            ${offer.personId ?? null}, clock_timestamp() + make_interval(secs => ${offer.validMs / 1000}))
  `.execute(tx);
  await sql`
    insert into offer_button (token_hash, offer_id, is_accepting, thread_key)
    select item ->> 'tokenHash', ${offer.id}::uuid, (item ->> 'isAccepting')::boolean, item ->> 'threadKey'
    from jsonb_array_elements(${JSON.stringify(offer.buttons)}::jsonb) item
  `.execute(tx);
}

interface PressedRow {
  id: string;
  payload: unknown;
  person_id: string | null;
  state: Offer['state'];
  is_overdue: boolean;
  settled_by_name: string | null;
  settled_event: string | null;
  is_accepting: boolean;
  thread_key: string;
}

/** A button with its offer. */
export interface Pressed {
  readonly offer: Offer;
  readonly isAccepting: boolean;
  /** Where the button was shown. */
  readonly threadKey: string;
  /** The inbox row that settled it. */
  readonly settledEvent: string | undefined;
}

/** The row lock makes two presses take turns; the second sees what the first decided. */
export async function lockPressed(tx: Tx, tokenHash: string): Promise<Pressed | undefined> {
  const { rows } = await sql<PressedRow>`
    select o.id, o.payload, o.person_id, o.state, o.expires_at <= clock_timestamp() as is_overdue, o.settled_event,
           (select p.display_name from person p where p.id = o.settled_by) as settled_by_name,
           b.is_accepting, b.thread_key
    from offer_button b join offer o on o.id = b.offer_id
    where b.token_hash = ${tokenHash} for update of o
  `.execute(tx);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    offer: {
      ...offerPayloadSchema.parse(row.payload),
      id: row.id,
      personId: row.person_id ?? undefined,
      state: row.state,
      isOverdue: row.is_overdue,
      settledByName: row.settled_by_name ?? undefined,
    },
    isAccepting: row.is_accepting,
    threadKey: row.thread_key,
    settledEvent: row.settled_event ?? undefined,
  };
}

export async function markSettled(
  tx: Tx,
  id: string,
  answer: { readonly isAccepted: boolean; readonly personId: string; readonly inboxId: string },
): Promise<void> {
  await sql`
    update offer set state = ${answer.isAccepted ? 'accepted' : 'refused'}, settled_at = clock_timestamp(),
      settled_by = ${answer.personId}, settled_event = ${answer.inboxId}
    where id = ${id} and state = 'open'
  `.execute(tx);
}

/** How many offers of a kind wait for an answer. */
export async function countOpen(db: Db | Tx, kind: OfferPayload['subject']['kind']): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from offer
    where kind = ${kind} and state = 'open' and expires_at > clock_timestamp()
  `.execute(db);
  return rows[0]?.count ?? 0;
}

/** Offers of long ago; nobody can press their buttons any more. */
export async function deleteOldOffers(tx: Tx): Promise<void> {
  await sql`delete from offer where expires_at < clock_timestamp() - interval '30 days'`.execute(tx);
}
