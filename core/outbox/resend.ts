import type { Tx } from '../kit/database.ts';
import { resendUnknown } from './undelivered-store.ts';

/** Makes the messages of a thread that may have been lost due again; only a person may ask for that. */
export async function resend(tx: Tx, threadKey: string): Promise<number> {
  return await resendUnknown(tx, threadKey);
}
