import type { Tx } from '../kit/database.ts';
import { putEmail, putWebhookEvent } from './outgoing-store.ts';
import type { WebhookEvent } from './webhook.ts';

/** Owes a call to every web hook that wants this event, in the caller's transaction; once per event id. */
export async function tellWebhooks(
  tx: Tx,
  event: { readonly event: WebhookEvent; readonly eventId: string; readonly payload: unknown },
): Promise<void> {
  await putWebhookEvent(tx, event);
}

/** What an e-mail says. */
export interface Email {
  readonly subject: string;
  readonly text: string;
}

/** Owes an e-mail to each address, in the caller's transaction; once per event id. */
export async function tellByEmail(
  tx: Tx,
  mail: { readonly to: readonly string[]; readonly event: string; readonly eventId: string; readonly email: Email },
): Promise<void> {
  for (const to of mail.to) {
    await putEmail(tx, { to, event: mail.event, eventId: mail.eventId, payload: mail.email });
  }
}
