import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import { checkName } from './secret.ts';
import { type SetBy, unknownSecret } from './set-secret.ts';
import { deleteSecret, deleteSuperseded, selectNewest } from './vault-store.ts';

/** How long the version before the newest stays known, so that it is still taken out of what is said. */
const supersededMs = 30 * 24 * 60 * 60_000;

/**
 * Removes a secret with all its versions, in the caller's transaction. It is not revoked where it was issued.
 * @throws AppError `credential.unknown`
 */
export async function removeSecret(tx: Tx, name: string, by: SetBy): Promise<void> {
  checkName(name);
  if (!(await deleteSecret(tx, name))) throw unknownSecret(name);
  const body = { name, personId: by.personId, via: by.via };
  await appendAudit(tx, [{ kind: 'vault.removed', chainKey: `vault:${name}`, body }]);
}

/**
 * Forgets the versions of a secret before its newest one.
 * @returns how many there were.
 * @throws AppError `credential.unknown`
 */
export async function retireVersions(tx: Tx, name: string, by: SetBy): Promise<number> {
  checkName(name);
  if ((await selectNewest(tx, name)) === undefined) throw unknownSecret(name);
  const count = await deleteSuperseded(tx, { name, olderThanMs: 0 });
  const body = { name, versions: count, personId: by.personId, via: by.via };
  await appendAudit(tx, [{ kind: 'vault.retired', chainKey: `vault:${name}`, body }]);
  return count;
}

/** Forgets versions that nobody can hold any more. */
export async function forgetSuperseded(deps: { readonly db: Db }): Promise<number> {
  return await deleteSuperseded(deps.db, { olderThanMs: supersededMs });
}
