import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { Identity, Person, PersonRole } from './person.ts';

interface IdentityRow {
  id: string;
  channel: string;
  account: string;
  external_id: string;
  display_name: string;
  admitted_by: string | null;
  is_removed: boolean;
  person_id: string | null;
  person_name: string | null;
  person_role: PersonRole | null;
}

export interface IdentityKey {
  readonly channel: string;
  readonly account: string;
  readonly externalId: string;
  readonly displayName: string;
}

/** Finds the identity of a platform account, creating it as a stranger's when it is new. */
export async function ensureIdentity(db: Db | Tx, key: IdentityKey): Promise<Identity> {
  const found = await findIdentity(db, key);
  if (found !== undefined) return found;
  await sql`
    insert into identity (id, channel, account, external_id, display_name)
    values (${newId()}, ${key.channel}, ${key.account}, ${key.externalId}, ${key.displayName})
    on conflict (channel, account, external_id) do nothing
  `.execute(db);
  const created = await findIdentity(db, key);
  if (created === undefined) throw new Error('the identity that was just inserted is gone');
  return created;
}

const identityRows = sql`
  select i.id, i.channel, i.account, i.external_id, i.display_name, i.admitted_by,
         i.person_id is not null and p.id is null as is_removed, p.id as person_id, p.display_name as person_name,
         p.role as person_role
  from identity i left join person p on p.id = i.person_id and p.disabled_at is null`;

/** An account by our id for it. */
export async function selectIdentity(db: Db | Tx, id: string): Promise<Identity | undefined> {
  const { rows } = await sql<IdentityRow>`${identityRows} where i.id = ${id}`.execute(db);
  return rows[0] === undefined ? undefined : toIdentity(rows[0]);
}

async function findIdentity(db: Db | Tx, key: IdentityKey): Promise<Identity | undefined> {
  const { rows } = await sql<IdentityRow>`
    ${identityRows}
    where i.channel = ${key.channel} and i.account = ${key.account} and i.external_id = ${key.externalId}
  `.execute(db);
  const row = rows[0];
  return row === undefined ? undefined : toIdentity(row);
}

/** Whether an account stands for a person who was not removed; an account nobody knows does not come into being. */
export async function hasPerson(db: Db | Tx, key: Omit<IdentityKey, 'displayName'>): Promise<boolean> {
  const { rows } = await sql`
    select 1 from identity i join person p on p.id = i.person_id and p.disabled_at is null
    where i.channel = ${key.channel} and i.account = ${key.account} and i.external_id = ${key.externalId}
  `.execute(db);
  return rows.length > 0;
}

function toIdentity(row: IdentityRow): Identity {
  const person: Person | undefined =
    row.person_id === null || row.person_role === null
      ? undefined
      : { id: row.person_id, displayName: row.person_name ?? row.display_name, role: row.person_role };
  return {
    id: row.id,
    channel: row.channel,
    account: row.account,
    externalId: row.external_id,
    displayName: row.display_name,
    person,
    isRemoved: row.is_removed,
    admittedBy: row.admitted_by ?? undefined,
  };
}

/** Marks a stranger as refused. @returns false when that had already been done, so that the refusal is said once. */
export async function markRefused(tx: Db | Tx, identityId: string): Promise<boolean> {
  const result = await sql`
    update identity set refused_at = clock_timestamp() where id = ${identityId} and refused_at is null
  `.execute(tx);
  return (result.numAffectedRows ?? 0n) > 0n;
}

/** Counts a wrong pairing code. @returns how many this identity has tried in all. */
export async function countWrongCode(tx: Db | Tx, identityId: string): Promise<number> {
  const { rows } = await sql<{ wrong_codes: number }>`
    update identity set wrong_codes = wrong_codes + 1 where id = ${identityId} returning wrong_codes
  `.execute(tx);
  return rows[0]?.wrong_codes ?? 0;
}

export async function insertPerson(tx: Db | Tx, person: Person): Promise<void> {
  await sql`
    insert into person (id, display_name, role) values (${person.id}, ${person.displayName}, ${person.role})
  `.execute(tx);
}

/** Makes an account a person's; `admittedBy` is the entry of the allow list that let it in, if one did. */
export async function assignPerson(
  tx: Db | Tx,
  identityId: string,
  personId: string | undefined,
  admittedBy?: string,
): Promise<void> {
  await sql`
    update identity set person_id = ${personId ?? null}, admitted_by = ${admittedBy ?? null} where id = ${identityId}
  `.execute(tx);
}

/** The person of an account, under a lock, so that two who let it in take turns. */
export async function lockIdentity(
  tx: Tx,
  identityId: string,
): Promise<{ readonly personId: string | undefined } | undefined> {
  const { rows } = await sql<{ person_id: string | null }>`
    select person_id from identity where id = ${identityId} for update
  `.execute(tx);
  return rows[0] === undefined ? undefined : { personId: rows[0].person_id ?? undefined };
}

/** The first owner, who is the operator of this installation. */
export async function findOwner(db: Db | Tx): Promise<Person | undefined> {
  const { rows } = await sql<{ id: string; display_name: string; role: PersonRole }>`
    select id, display_name, role from person where role = 'owner' and disabled_at is null order by created_at limit 1
  `.execute(db);
  const row = rows[0];
  return row === undefined ? undefined : { id: row.id, displayName: row.display_name, role: row.role };
}

export async function countPairedIdentities(db: Db | Tx, exceptChannels: readonly string[]): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from identity where person_id is not null and channel <> all (${[...exceptChannels]})
  `.execute(db);
  return rows[0]?.count ?? 0;
}

export interface NewPairingCode {
  readonly codeHash: string;
  readonly role: PersonRole;
  readonly createdBy: string | undefined;
  readonly validMs: number;
}

export async function insertPairingCode(db: Db | Tx, code: NewPairingCode): Promise<void> {
  await sql`
    insert into pairing_code (code_hash, role, created_by, expires_at)
    values (${code.codeHash}, ${code.role}, ${code.createdBy ?? null},
            clock_timestamp() + make_interval(secs => ${code.validMs / 1000}))
  `.execute(db);
}

/** Counts codes that could still be used, so that nobody piles them up. */
export async function countOpenPairingCodes(db: Db | Tx): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from pairing_code where used_at is null and expires_at > clock_timestamp()
  `.execute(db);
  return rows[0]?.count ?? 0;
}

/** Withdraws the unused codes that no person made: those printed at earlier starts. */
export async function deleteSetupCodes(db: Db | Tx): Promise<void> {
  await sql`delete from pairing_code where used_at is null and created_by is null and role = 'owner'`.execute(db);
}

/**
 * Uses a code once.
 * @returns the role it gives; undefined when it is unknown, used or expired, or when whoever made it may not let anybody
 *   in as that any more.
 */
export async function usePairingCode(tx: Tx, codeHash: string, identityId: string): Promise<PersonRole | undefined> {
  const { rows } = await sql<{ role: PersonRole }>`
    update pairing_code set used_at = clock_timestamp(), used_by = ${identityId}
    where code_hash = ${codeHash} and used_at is null and expires_at > clock_timestamp()
      and (created_by is null or exists (
        select from person p where p.id = pairing_code.created_by and p.disabled_at is null
          and (p.role = 'owner' or (p.role = 'admin' and pairing_code.role = 'member'))))
    returning role
  `.execute(tx);
  return rows[0]?.role;
}

/** A person who has not been removed. */
export async function findPerson(db: Db | Tx, personId: string): Promise<Person | undefined> {
  const { rows } = await sql<{ id: string; display_name: string; role: PersonRole }>`
    select id, display_name, role from person where id = ${personId} and disabled_at is null
  `.execute(db);
  const row = rows[0];
  return row === undefined ? undefined : { id: row.id, displayName: row.display_name, role: row.role };
}

/** Takes turns with whoever else changes which accounts a person has. */
export async function lockPerson(tx: Tx, personId: string): Promise<void> {
  await sql`select id from person where id = ${personId} for no key update`.execute(tx);
}

/** The owners, under a lock: two that each remove another owner must not leave none. @returns their ids. */
export async function lockOwners(tx: Tx): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select id from person where role = 'owner' and disabled_at is null order by id for update
  `.execute(tx);
  return rows.map((row) => row.id);
}

/** How many accounts a person has. */
export async function countIdentities(db: Db | Tx, personId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from identity where person_id = ${personId}
  `.execute(db);
  return rows[0]?.count ?? 0;
}

export async function disablePerson(tx: Tx, personId: string): Promise<void> {
  await sql`
    update person set disabled_at = clock_timestamp() where id = ${personId} and disabled_at is null
  `.execute(tx);
}

/** What somebody began or was asked under another name is theirs: nobody may approve their own request under a second one. */
export async function handOverWork(tx: Tx, fromPersonId: string, toPersonId: string): Promise<void> {
  const [from, to] = [fromPersonId, JSON.stringify({ personId: toPersonId })];
  await sql`
    update approval set requester_id = ${toPersonId} where requester_id = ${from} and state = 'pending'
  `.execute(tx);
  await sql`
    update question set requester_id = case when requester_id = ${from} then ${toPersonId}::uuid else requester_id end,
      asked_id = case when asked_id = ${from} then ${toPersonId}::uuid else asked_id end
    where (requester_id = ${from} or asked_id = ${from}) and state = 'pending'
  `.execute(tx);
  await sql`
    update turn set origin = origin || ${to}::jsonb
    where origin ->> 'personId' = ${from} and state in ('queued', 'running', 'waiting')
  `.execute(tx);
  await sql`
    update session set origin = origin || ${to}::jsonb where origin ->> 'personId' = ${from} and state = 'active'
  `.execute(tx);
}

export async function setRole(tx: Tx, personId: string, role: PersonRole): Promise<void> {
  await sql`update person set role = ${role} where id = ${personId}`.execute(tx);
}

/** The role a person has now; undefined when they are unknown or were removed. */
export async function findPersonRole(db: Db | Tx, personId: string): Promise<PersonRole | undefined> {
  const { rows } = await sql<{ role: PersonRole }>`
    select role from person where id = ${personId} and disabled_at is null
  `.execute(db);
  return rows[0]?.role;
}
