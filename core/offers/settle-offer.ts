import type { Tx } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { isAdministrator, type Person } from '../people/person.ts';
import type { Offer } from './offer.ts';
import { lockPressed, markSettled } from './offer-store.ts';
import { hashOfferToken } from './put-offer.ts';

/** Every way a press can end. Only `settled` changed something, once. */
export type OfferOutcome =
  | { readonly kind: 'settled'; readonly offer: Offer; readonly isAccepted: boolean }
  /** Answered before, or too late, or by somebody who may not; `text` says so in one sentence. */
  | { readonly kind: 'refused'; readonly text: string };

/**
 * Answers an offer by one of its buttons and rewrites its cards.
 * @param inboxId the inbox row of the press: the same row again gets the same outcome, so that a crash after the answer
 *   loses nothing.
 * @returns undefined when no offer has such a button: it is somebody else's.
 */
export async function settleOffer(
  tx: Tx,
  press: { readonly token: string; readonly threadKey: string; readonly person: Person; readonly inboxId: string },
): Promise<OfferOutcome | undefined> {
  const pressed = await lockPressed(tx, hashOfferToken(press.token));
  if (pressed === undefined) return undefined;
  const { offer, isAccepting } = pressed;
  if (pressed.settledEvent === press.inboxId) return { kind: 'settled', offer, isAccepted: isAccepting };
  if (pressed.threadKey !== press.threadKey) return refused('This button belongs to another chat.');
  const mayAnswer =
    offer.personId === undefined ? isAdministrator(press.person.role) : offer.personId === press.person.id;
  if (!mayAnswer) {
    return refused(
      offer.personId === undefined ? 'Only an owner or admin can decide this.' : 'This is not for you to decide.',
    );
  }
  if (offer.state !== 'open') {
    return refused(
      `This was already ${offer.state}${offer.settledByName === undefined ? '' : ` by ${offer.settledByName}`}.`,
    );
  }
  if (offer.isOverdue) {
    await rewriteCards(tx, offer, 'warn', 'Expired.');
    return refused('This has expired.');
  }
  await markSettled(tx, offer.id, { isAccepted: isAccepting, personId: press.person.id, inboxId: press.inboxId });
  await rewriteCards(
    tx,
    offer,
    isAccepting ? 'success' : 'info',
    `**${isAccepting ? 'Accepted' : 'Refused'}** by ${press.person.displayName}.`,
  );
  return { kind: 'settled', offer, isAccepted: isAccepting };
}

function refused(text: string): OfferOutcome {
  return { kind: 'refused', text };
}

/** The same cards with what became of them, and nothing left to press. */
async function rewriteCards(tx: Tx, offer: Offer, level: 'success' | 'info' | 'warn', markdown: string): Promise<void> {
  await putMessages(
    tx,
    offer.cards.map(({ key, conversation }) => ({
      key,
      conversation,
      importance: 'approval',
      body: {
        parts: [
          { type: 'markdown', markdown: offer.markdown },
          { type: 'notice', level, markdown },
        ],
      },
    })),
  );
}
