import type { Tx } from '../kit/database.ts';
import { newId, newToken, sha256 } from '../kit/ids.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import { buttonLabels, type OfferSubject } from './offer.ts';
import { deleteOldOffers, insertOffer, type OfferButton } from './offer-store.ts';

/**
 * Puts an offer to people, with a button to accept and one to refuse it. Buttons carry only an opaque token that works
 * in the place it was shown; the first press anywhere decides.
 *
 * @param offer.places where its cards go; without any the offer is not made.
 * @param offer.personId the only one who may answer; every owner and admin when absent.
 */
export async function putOffer(
  tx: Tx,
  offer: {
    readonly subject: OfferSubject;
    readonly markdown: string;
    readonly places: readonly Conversation[];
    readonly personId?: string;
    readonly validMs: number;
    /** Interaction the first card answers. */
    readonly interactionToken?: string | undefined;
  },
): Promise<void> {
  if (offer.places.length === 0) return;
  const id = newId();
  const [accept, refuse] = buttonLabels(offer.subject.kind);
  const buttons: OfferButton[] = [];
  const cards = offer.places.map((conversation, index) => {
    const token = (isAccepting: boolean): string => {
      const text = newToken();
      buttons.push({ tokenHash: hashOfferToken(text), isAccepting, threadKey: threadKey(conversation) });
      return text;
    };
    return { key: `offer:${id}:${index}`, conversation, accept: token(true), refuse: token(false) };
  });
  await deleteOldOffers(tx);
  await insertOffer(tx, {
    id,
    payload: {
      subject: offer.subject,
      markdown: offer.markdown,
      cards: cards.map(({ key, conversation }) => ({ key, conversation })),
    },
    personId: offer.personId,
    validMs: offer.validMs,
    buttons,
  });
  await putMessages(
    tx,
    cards.map((card, index) => ({
      key: card.key,
      conversation: card.conversation,
      importance: 'approval',
      body: {
        parts: [
          { type: 'markdown', markdown: offer.markdown },
          {
            type: 'buttons',
            rows: [
              [
                { label: accept, token: card.accept, style: 'success' },
                { label: refuse, token: card.refuse, style: 'danger' },
              ],
            ],
          },
        ],
        ...(index === 0 && offer.interactionToken !== undefined ? { interactionToken: offer.interactionToken } : {}),
      },
    })),
  );
}

/** The stored form of a button's token. */
export function hashOfferToken(token: string): string {
  return sha256(`offer:${token}`);
}
