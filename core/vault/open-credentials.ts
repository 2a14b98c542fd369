import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import type { SecretBook } from '../redaction/secret-book.ts';
import type { CredentialSource, CredentialUse } from './credential.ts';
import type { KekSource } from './kek-source.ts';
import { openSecret } from './seal-secret.ts';
import { checkName, refusal, type SealedSecret } from './secret.ts';
import { unknownSecret } from './set-secret.ts';
import { markUsed, selectNewest } from './vault-store.ts';

/** Where the vault's values are in a secret book. */
export const vaultSource = 'vault';

export interface CredentialDeps {
  readonly db: Db;
  readonly kek: KekSource;
  /** Learns of a value before it is handed out. */
  readonly secrets: SecretBook;
}

/**
 * How long a value that was opened for one agent and host is handed out again without a look: a burst of requests costs
 * one query and one record of use. A removed secret works this long at most.
 */
const keptMs = 3_000;

/**
 * Opens credentials for those who may use them, where they may be used. Each use (at most one in three seconds for the
 * same agent and host) is on the audit before the value is handed out; each refusal too.
 */
export function openCredentials(deps: CredentialDeps): CredentialSource {
  const kept = new Map<string, { readonly value: Promise<string>; readonly until: number }>();
  return {
    resolve: async (name, use) => {
      checkName(name);
      const now = performance.now();
      for (const [key, { until }] of kept) if (until <= now) kept.delete(key);
      const key = JSON.stringify([name, use.agent, use.host]);
      const known = kept.get(key);
      if (known !== undefined) return await known.value;
      const value = open(deps, name, use);
      kept.set(key, { value, until: now + keptMs });
      // What failed may be mended within these seconds.
      value.catch(() => kept.delete(key));
      return await value;
    },
  };
}

async function open(deps: CredentialDeps, name: string, use: CredentialUse): Promise<string> {
  const { db, secrets } = deps;
  const { row, value } = await openNewest(deps, name, use);
  secrets.add(vaultSource, { label: name, value });
  // Only now is it known that agents and hosts are those it was sealed for.
  const why = refusal(row, use);
  const { version } = row;
  const body = { name, version, agentName: use.agent, host: use.host };
  if (why !== undefined) {
    await appendAudit(db, [{ kind: 'vault.refused', chainKey: `vault:${name}`, body: { ...body, why } }]);
    throw new AppError('credential.not_allowed', why, {
      mend: `The operator can allow it: ./switchyard vault scope ${name} --agent ${use.agent} --host ${use.host} (with those it has).`,
    });
  }
  await db.transaction().execute(async (tx) => {
    await markUsed(tx, row.secretId, use.agent);
    await appendAudit(tx, [{ kind: 'vault.used', chainKey: `vault:${name}`, body }]);
  });
  return value;
}

async function openNewest(
  deps: CredentialDeps,
  name: string,
  use: CredentialUse,
): Promise<{ readonly row: SealedSecret; readonly value: string }> {
  let row = await selectNewest(deps.db, name);
  if (row === undefined) throw unknownSecret(name);
  for (;;) {
    try {
      return { row, value: await openOrReport(deps, row, use) };
    } catch (err) {
      // Between the two looks its key may have been wrapped anew, and the master key before forgotten. Where rotations
      // follow each other closely that happens more than once; it ends with them.
      const again: SealedSecret | undefined = isAppError(err, 'vault.unavailable')
        ? await selectNewest(deps.db, name)
        : undefined;
      if (again === undefined || again.kekId === row.kekId) throw err;
      row = again;
    }
  }
}

async function openOrReport({ db, kek }: CredentialDeps, row: SealedSecret, use: CredentialUse): Promise<string> {
  try {
    return await openSecret(kek, row);
  } catch (err) {
    if (isAppError(err, 'vault.tampered')) {
      const { name, version } = row;
      const body = { name, version, agentName: use.agent, host: use.host };
      await appendAudit(db, [{ kind: 'vault.tampered', chainKey: `vault:${name}`, body }]);
    }
    throw err;
  }
}
