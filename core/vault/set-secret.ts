import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import type { KekSource } from './kek-source.ts';
import { openSecret, sealSecret } from './seal-secret.ts';
import { checkName, checkScope, checkValue, type SecretScope } from './secret.ts';
import { insertVersion, lockMaster, lockSecret, selectLatest, selectNewest } from './vault-store.ts';

/** Who sets a secret, and by what way. */
export interface SetBy {
  readonly personId: string;
  readonly via: 'cli' | 'chat';
}

/** What became of a secret. */
export interface SetOutcome extends SecretScope {
  readonly name: string;
  readonly version: number;
}

/**
 * Seals a value as the newest version of a secret, in the caller's transaction; the version before is handed out no
 * more. What is not said of the scope stays as it was, and is empty for a new secret: then nobody may use it.
 * @throws AppError `credential.invalid`, `credential.unknown` (with `mustExist`), `vault.unavailable`.
 */
export async function setSecret(
  deps: { readonly tx: Tx; readonly kek: KekSource },
  secret: { readonly name: string; readonly value: string; readonly mustExist?: boolean } & Partial<SecretScope>,
  by: SetBy,
): Promise<SetOutcome> {
  checkName(secret.name);
  const value = checkValue(secret.value);
  const before = await selectNewest(deps.tx, secret.name);
  if (before === undefined && secret.mustExist === true) throw unknownSecret(secret.name);
  const scope = checkScope({
    agents: secret.agents ?? before?.agents ?? [],
    hosts: secret.hosts ?? before?.hosts ?? [],
  });
  return await insert(deps, { name: secret.name, value, scope }, by);
}

/**
 * Changes who may use a secret and where. The seal binds that, so that the same value is sealed again as a new version.
 * @throws AppError `credential.invalid`, `credential.unknown`, `vault.unavailable`, `vault.tampered`.
 */
export async function changeScope(
  deps: { readonly tx: Tx; readonly kek: KekSource },
  secret: { readonly name: string } & Partial<SecretScope>,
  by: SetBy,
): Promise<SetOutcome> {
  checkName(secret.name);
  const before = await selectNewest(deps.tx, secret.name);
  if (before === undefined) throw unknownSecret(secret.name);
  const scope = checkScope({ agents: secret.agents ?? before.agents, hosts: secret.hosts ?? before.hosts });
  const value = await openSecret(deps.kek, before);
  return await insert(deps, { name: secret.name, value, scope }, by);
}

/** The answer to a name that is not there. */
export function unknownSecret(name: string): AppError {
  return new AppError('credential.unknown', `There is no credential named ${name.slice(0, 64)}.`, {
    mend: 'The operator can set one with ./switchyard vault set; ./switchyard vault list shows what there is.',
  });
}

async function insert(
  { tx, kek }: { readonly tx: Tx; readonly kek: KekSource },
  secret: { readonly name: string; readonly value: string; readonly scope: SecretScope },
  by: SetBy,
): Promise<SetOutcome> {
  const { name, scope } = secret;
  await lockMaster(tx, 'shared');
  await requireSameKey(tx, kek);
  const { id, lastVersion } = await lockSecret(tx, name);
  const identity = { name, version: lastVersion + 1, ...scope };
  const sealed = await sealSecret(kek, identity, secret.value);
  await insertVersion(tx, { secretId: id, ...identity, ...sealed }, by.personId);
  await appendAudit(tx, [
    {
      kind: 'vault.set',
      chainKey: `vault:${name}`,
      body: { ...identity, kekId: sealed.kekId, personId: by.personId, via: by.via },
    },
  ]);
  return identity;
}

/**
 * A process without the master key of the vault must not begin one of its own: whatever it sealed then, the others could
 * not open.
 */
async function requireSameKey(tx: Tx, kek: KekSource): Promise<void> {
  const latest = await selectLatest(tx);
  if (latest === undefined) return;
  try {
    await openSecret(kek, latest);
  } catch (err) {
    // One row that somebody changed says nothing of the key.
    if (isAppError(err, 'vault.tampered')) return;
    if (!isAppError(err, 'vault.unavailable')) throw err;
    throw new AppError('vault.unavailable', `The secrets that are there cannot be opened here. ${err.message}`, {
      mend: `${err.mend ?? ''} If the master key is lost, remove them first with ./switchyard vault rm.`.trimStart(),
      cause: err,
    });
  }
}
