import type { Db, Tx } from '../kit/database.ts';
import type { OfferSubject } from './offer.ts';
import { countOpen } from './offer-store.ts';

/** How many offers of a kind wait for an answer, so that strangers cannot pile them up. */
export async function countOpenOffers(db: Db | Tx, kind: OfferSubject['kind']): Promise<number> {
  return await countOpen(db, kind);
}
