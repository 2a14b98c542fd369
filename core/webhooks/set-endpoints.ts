import type { Db } from '../kit/database.ts';
import { replaceEndpoints } from './outgoing-store.ts';
import { endpointId, type WebhookEndpoint } from './webhook.ts';

/**
 * Makes the web hooks of the settings the ones that are told from now on. The database learns who wants what; addresses
 * and secrets stay with the processes.
 */
export async function setEndpoints(deps: { readonly db: Db }, endpoints: readonly WebhookEndpoint[]): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    await replaceEndpoints(
      tx,
      endpoints.map(({ url, events }) => ({ id: endpointId(url), host: new URL(url).host, events })),
    );
  });
}
