import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { makeCalls } from '#core/webhooks/make-calls.ts';
import { type CallOutcome, endpointId, type OutgoingCall, type WebhookEndpoint } from '#core/webhooks/webhook.ts';
import { postWebhook } from '../outgoing/post-webhook.ts';
import { type MailSettings, sendMail } from '../outgoing/send-mail.ts';

export interface CallOutsideDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  readonly webhooks: readonly WebhookEndpoint[];
  /** Absent: no mail can be sent. */
  readonly mail: MailSettings | undefined;
}

/** Makes the web hook calls and sends the e-mails that are due. */
export async function callOutside(deps: CallOutsideDeps, signal: AbortSignal): Promise<void> {
  const { db, log, clock, mail } = deps;
  const endpoints = new Map(deps.webhooks.map((endpoint) => [endpointId(endpoint.url), endpoint]));
  const call = async (due: OutgoingCall): Promise<CallOutcome> => {
    const endpoint = endpoints.get(due.target);
    if (due.kind === 'webhook' && endpoint !== undefined) {
      return await postWebhook(endpoint, due, clock.now(), signal);
    }
    // Only what can be made here is claimed here.
    return mail === undefined ? { state: 'retry', reason: 'it cannot be made here' } : await sendMail(mail, due);
  };
  const able = { endpointIds: [...endpoints.keys()], canMail: mail !== undefined };
  await makeCalls({ db, log, call }, able, signal);
}
