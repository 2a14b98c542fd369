import type { Db } from '../kit/database.ts';
import type { SecretSummary } from './secret.ts';
import { selectSummaries } from './vault-store.ts';

/** What there is, without any value; by name. */
export async function listSecrets(db: Db): Promise<readonly SecretSummary[]> {
  return await selectSummaries(db);
}
