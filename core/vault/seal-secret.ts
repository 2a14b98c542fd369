import { randomBytes } from 'node:crypto';
import { AppError, isAppError } from '../kit/errors.ts';
import { closeBox, keyBytes, openBox } from './aes-box.ts';
import type { KekSource } from './kek-source.ts';
import type { SealedSecret } from './secret.ts';

/** What a seal binds besides the value. */
type Identity = Pick<SealedSecret, 'name' | 'version' | 'agents' | 'hosts'>;

/**
 * Seals a value under a fresh key, which the master key wraps. Name, version, agents and hosts are bound to it: whoever
 * can write to the database can neither swap two rows nor widen who may use one.
 * @throws AppError `vault.unavailable`
 */
export async function sealSecret(
  kek: KekSource,
  identity: Identity,
  value: string,
): Promise<Pick<SealedSecret, 'kekId' | 'wrappedKey' | 'sealed'>> {
  const key = randomBytes(keyBytes);
  try {
    const kekId = await kek.id();
    const wrappedKey = await kek.wrap(kekId, key, keyContext(identity, kekId));
    return { kekId, wrappedKey, sealed: closeBox(key, Buffer.from(value, 'utf8'), context(identity)) };
  } finally {
    key.fill(0);
  }
}

/** @throws AppError `vault.tampered` when the row is not as it was sealed; `vault.unavailable` without its master key. */
export async function openSecret(kek: KekSource, row: SealedSecret): Promise<string> {
  let key: Buffer | undefined;
  try {
    key = await kek.unwrap(row.kekId, row.wrappedKey, keyContext(row, row.kekId));
    const value = key.length === keyBytes ? openBox(key, row.sealed, context(row)) : undefined;
    if (value === undefined) throw tampered(row);
    return value.toString('utf8');
  } catch (err) {
    throw isAppError(err, 'vault.tampered') ? tampered(row) : err;
  } finally {
    key?.fill(0);
  }
}

/** The same key under the master key that wraps now; the value stays sealed. */
export async function rewrapKey(
  kek: KekSource,
  row: SealedSecret,
): Promise<Pick<SealedSecret, 'kekId' | 'wrappedKey'>> {
  const key = await kek.unwrap(row.kekId, row.wrappedKey, keyContext(row, row.kekId));
  try {
    const kekId = await kek.id();
    return { kekId, wrappedKey: await kek.wrap(kekId, key, keyContext(row, kekId)) };
  } finally {
    key.fill(0);
  }
}

function context(identity: Identity): Buffer {
  const { name, version, agents, hosts } = identity;
  return Buffer.from(JSON.stringify(['switchyard secret 1', name, version, agents, hosts]));
}

function keyContext(identity: Identity, kekId: string): Buffer {
  const { name, version, agents, hosts } = identity;
  return Buffer.from(JSON.stringify(['switchyard secret key 1', name, version, agents, hosts, kekId]));
}

function tampered({ name, version }: Identity): AppError {
  return new AppError('vault.tampered', `The row of the secret ${name} (version ${version}) is not as it was sealed.`, {
    mend: 'Somebody changed the database. Set the secret anew, and replace it where it was issued.',
  });
}
