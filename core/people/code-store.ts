import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import type { PersonRole } from './person.ts';

export type CodeKind = 'link' | 'continue';

export interface NewOneTimeCode {
  readonly codeHash: string;
  readonly kind: CodeKind;
  readonly personId: string;
  readonly identityId: string;
  readonly sessionId: string | undefined;
  readonly validMs: number;
}

/** Adds codes; one that is there already (a number of an earlier list) means the new thing from now on. */
export async function insertCodes(tx: Db | Tx, codes: readonly NewOneTimeCode[]): Promise<void> {
  for (const code of codes) {
    await sql`
      insert into one_time_code (code_hash, kind, person_id, identity_id, session_id, expires_at)
      values (${code.codeHash}, ${code.kind}, ${code.personId}, ${code.identityId}, ${code.sessionId ?? null},
              clock_timestamp() + make_interval(secs => ${code.validMs / 1000}))
      on conflict (code_hash) do update set session_id = excluded.session_id, created_at = clock_timestamp(),
        expires_at = excluded.expires_at, used_at = null, used_by = null
    `.execute(tx);
  }
}

/** Withdraws what a person has not used, and forgets what is long over. */
export async function deleteOpenCodes(tx: Db | Tx, personId: string, kind: CodeKind): Promise<void> {
  await sql`
    delete from one_time_code where (person_id = ${personId} and kind = ${kind} and used_at is null)
      or expires_at < clock_timestamp() - interval '1 day'
  `.execute(tx);
}

export interface UsedCode {
  readonly personId: string;
  readonly identityId: string;
  readonly sessionId: string | undefined;
}

/**
 * Uses a code once, whatever comes of it.
 * @returns undefined when it is unknown, used or expired, or when the account that made it is not its person's any more.
 */
export async function spendCode(
  tx: Db | Tx,
  kind: CodeKind,
  codeHash: string,
  identityId: string,
): Promise<UsedCode | undefined> {
  const { rows } = await sql<{ person_id: string; identity_id: string; session_id: string | null }>`
    update one_time_code set used_at = clock_timestamp(), used_by = ${identityId}
    where code_hash = ${codeHash} and kind = ${kind} and used_at is null and expires_at > clock_timestamp()
      and exists (
        select from identity i where i.id = one_time_code.identity_id and i.person_id = one_time_code.person_id)
    returning person_id, identity_id, session_id
  `.execute(tx);
  const row = rows[0];
  return row === undefined
    ? undefined
    : { personId: row.person_id, identityId: row.identity_id, sessionId: row.session_id ?? undefined };
}

/** Spoils a pairing code that others have read. @returns whether there was one. */
export async function burnPairingCode(tx: Tx, codeHash: string, identityId: string): Promise<boolean> {
  const result = await sql`
    update pairing_code set used_at = clock_timestamp(), used_by = ${identityId}
    where code_hash = ${codeHash} and used_at is null and expires_at > clock_timestamp()
  `.execute(tx);
  return (result.numAffectedRows ?? 0n) > 0n;
}

/** Counts a wrong one-time code of an account; a quiet hour forgets earlier ones. @returns how many it makes. */
export async function countCodeFailure(tx: Db | Tx, identityId: string): Promise<number> {
  const { rows } = await sql<{ code_failures: number }>`
    update identity set code_failed_at = clock_timestamp(),
      code_failures = case when code_failed_at > clock_timestamp() - interval '1 hour' then code_failures + 1 else 1 end
    where id = ${identityId} returning code_failures
  `.execute(tx);
  return rows[0]?.code_failures ?? 0;
}

/** Wrong one-time codes of an account within the last hour. */
export async function codeFailures(tx: Db | Tx, identityId: string): Promise<number> {
  const { rows } = await sql<{ code_failures: number }>`
    select case when code_failed_at > clock_timestamp() - interval '1 hour' then code_failures else 0 end
      as code_failures
    from identity where id = ${identityId}
  `.execute(tx);
  return rows[0]?.code_failures ?? 0;
}

/** An unused pairing code as administrators see it. */
export interface OpenPairingCode {
  /** The beginning of its hash: enough to revoke it, nothing to use it. */
  readonly id: string;
  readonly role: PersonRole;
  readonly createdBy: string | undefined;
  readonly expiresAt: Date;
}

export async function selectPairingCodes(db: Db | Tx): Promise<OpenPairingCode[]> {
  const { rows } = await sql<{ id: string; role: PersonRole; created_by: string | null; expires_at: Date }>`
    select left(c.code_hash, 6) as id, c.role, p.display_name as created_by, c.expires_at
    from pairing_code c left join person p on p.id = c.created_by
    where c.used_at is null and c.expires_at > clock_timestamp() order by c.expires_at, c.code_hash
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    role: row.role,
    createdBy: row.created_by ?? undefined,
    expiresAt: row.expires_at,
  }));
}

/** Withdraws unused codes, all of them or those whose id is given. @returns how many. */
export async function deletePairingCodes(tx: Db | Tx, id: string | undefined): Promise<number> {
  const result = await sql`
    delete from pairing_code where used_at is null and (${id ?? null}::text is null or left(code_hash, 6) = ${id ?? null})
  `.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}
