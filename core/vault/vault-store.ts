import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { SealedSecret, SecretSummary } from './secret.ts';

interface VersionRow {
  secret_id: string;
  name: string;
  version: number;
  agents: string[];
  hosts: string[];
  kek_id: string;
  wrapped_key: Buffer;
  sealed: Buffer;
}

const columns = sql`s.id as secret_id, s.name, v.version, v.agents, v.hosts, v.kek_id, v.wrapped_key, v.sealed`;

/**
 * Held until the end of the transaction: sealing goes on beside sealing, but not beside a rotation of the master key,
 * which would forget the key that was just used.
 */
export async function lockMaster(tx: Tx, mode: 'shared' | 'exclusive'): Promise<void> {
  const lock = sql.raw(mode === 'shared' ? 'pg_advisory_xact_lock_shared' : 'pg_advisory_xact_lock');
  await sql`select ${lock}(hashtextextended('switchyard vault', 0))`.execute(tx);
}

/** The version that is handed out. */
export async function selectNewest(db: Db | Tx, name: string): Promise<SealedSecret | undefined> {
  const { rows } = await sql<VersionRow>`
    select ${columns} from vault_secret s join vault_version v on v.secret_id = s.id
    where s.name = ${name} and v.superseded_at is null
  `.execute(db);
  return rows[0] === undefined ? undefined : toSealed(rows[0]);
}

/** Any one version, the latest; undefined for an empty vault. */
export async function selectLatest(tx: Tx): Promise<SealedSecret | undefined> {
  const { rows } = await sql<VersionRow>`
    select ${columns} from vault_secret s join vault_version v on v.secret_id = s.id order by v.created_at desc limit 1
  `.execute(tx);
  return rows[0] === undefined ? undefined : toSealed(rows[0]);
}

/** Every version, older ones too, in a stable order. */
export async function selectVersions(db: Db | Tx): Promise<SealedSecret[]> {
  const { rows } = await sql<VersionRow>`
    select ${columns} from vault_secret s join vault_version v on v.secret_id = s.id order by s.name, v.version
  `.execute(db);
  return rows.map(toSealed);
}

/** The same, each row locked until the end of the transaction. */
export async function lockVersions(tx: Tx): Promise<SealedSecret[]> {
  const { rows } = await sql<VersionRow>`
    select ${columns} from vault_secret s join vault_version v on v.secret_id = s.id
    order by s.name, v.version for update
  `.execute(tx);
  return rows.map(toSealed);
}

/**
 * Locks a secret, made when it is new: two who set it at once take turns.
 * @returns its id, and the highest version it ever had (0 for a new one).
 */
export async function lockSecret(tx: Tx, name: string): Promise<{ readonly id: string; readonly lastVersion: number }> {
  await sql`insert into vault_secret (id, name) values (${newId()}, ${name}) on conflict (name) do nothing`.execute(tx);
  const { rows } = await sql<{ id: string }>`select id from vault_secret where name = ${name} for update`.execute(tx);
  const id = rows[0]?.id;
  if (id === undefined) throw new Error('the secret that was just locked is gone');
  const last = await sql<{ version: number }>`
    select coalesce(max(version), 0) as version from vault_version where secret_id = ${id}
  `.execute(tx);
  return { id, lastVersion: last.rows[0]?.version ?? 0 };
}

/** Adds a version, which takes the place of the one before. */
export async function insertVersion(tx: Tx, row: SealedSecret, createdBy: string | undefined): Promise<void> {
  await sql`
    update vault_version set superseded_at = clock_timestamp()
    where secret_id = ${row.secretId} and superseded_at is null
  `.execute(tx);
  await sql`
    insert into vault_version (secret_id, version, agents, hosts, kek_id, wrapped_key, sealed, created_by)
    values (${row.secretId}, ${row.version}, ${[...row.agents]}::text[], ${[...row.hosts]}::text[], ${row.kekId},
      ${row.wrappedKey}, ${row.sealed}, ${createdBy ?? null})
  `.execute(tx);
}

export async function updateWrapped(
  tx: Tx,
  row: Pick<SealedSecret, 'secretId' | 'version' | 'kekId' | 'wrappedKey'>,
): Promise<void> {
  await sql`
    update vault_version set kek_id = ${row.kekId}, wrapped_key = ${row.wrappedKey}
    where secret_id = ${row.secretId} and version = ${row.version}
  `.execute(tx);
}

/** @returns whether there was one. */
export async function deleteSecret(tx: Tx, name: string): Promise<boolean> {
  const { numAffectedRows } = await sql`delete from vault_secret where name = ${name}`.execute(tx);
  return numAffectedRows === 1n;
}

/** Forgets versions that were superseded at least so long ago. @returns how many. */
export async function deleteSuperseded(
  db: Db | Tx,
  which: { readonly olderThanMs: number; readonly name?: string },
): Promise<number> {
  const { numAffectedRows } = await sql`
    delete from vault_version v using vault_secret s
    where s.id = v.secret_id and (${which.name ?? null}::text is null or s.name = ${which.name ?? null})
      and v.superseded_at <= clock_timestamp() - make_interval(secs => ${which.olderThanMs / 1000})
  `.execute(db);
  return Number(numAffectedRows ?? 0n);
}

export async function markUsed(tx: Tx, secretId: string, agent: string): Promise<void> {
  await sql`
    update vault_secret set last_used_at = clock_timestamp(), last_used_by = ${agent} where id = ${secretId}
  `.execute(tx);
}

interface SummaryRow {
  name: string;
  version: number;
  agents: string[];
  hosts: string[];
  created_at: Date;
  last_used_at: Date | null;
  last_used_by: string | null;
  older: number;
}

/** In the order of their names; nothing of a value. */
export async function selectSummaries(db: Db | Tx): Promise<SecretSummary[]> {
  const { rows } = await sql<SummaryRow>`
    select s.name, v.version, v.agents, v.hosts, v.created_at, s.last_used_at, s.last_used_by,
      (select count(*)::integer from vault_version o where o.secret_id = s.id and o.superseded_at is not null) as older
    from vault_secret s join vault_version v on v.secret_id = s.id and v.superseded_at is null
    order by s.name
  `.execute(db);
  return rows.map((row) => ({
    name: row.name,
    version: row.version,
    agents: row.agents,
    hosts: row.hosts,
    setAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
    lastUsedBy: row.last_used_by ?? undefined,
    olderCount: row.older,
  }));
}

function toSealed(row: VersionRow): SealedSecret {
  return {
    secretId: row.secret_id,
    name: row.name,
    version: row.version,
    agents: row.agents,
    hosts: row.hosts,
    kekId: row.kek_id,
    wrappedKey: row.wrapped_key,
    sealed: row.sealed,
  };
}
