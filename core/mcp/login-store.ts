import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';

/** A login somebody has begun; `sealed` holds what the way back needs. */
export interface LoginRow {
  readonly id: string;
  readonly personId: string;
  readonly personName: string;
  readonly server: string;
  readonly sealed: string;
}

export async function insertLogin(
  db: Db,
  login: Omit<LoginRow, 'personName'> & {
    readonly ticketHash: string;
    readonly stateHash: string;
    readonly validMs: number;
  },
): Promise<void> {
  await sql`delete from mcp_login where expires_at < clock_timestamp() - interval '1 day'`.execute(db);
  await sql`
    insert into mcp_login (id, ticket_hash, state_hash, person_id, server, sealed, expires_at)
    values (${login.id}, ${login.ticketHash}, ${login.stateHash}, ${login.personId}, ${login.server}, ${login.sealed},
      clock_timestamp() + make_interval(secs => ${login.validMs / 1000}))
  `.execute(db);
}

const open = sql`l.used_at is null and l.expires_at > clock_timestamp()`;

/** The login a ticket opens; undefined when it was used, is over, or its person was removed. */
export async function selectLoginByTicket(db: Db, ticketHash: string): Promise<LoginRow | undefined> {
  const { rows } = await sql<{ id: string; person_id: string; name: string; server: string; sealed: string }>`
    select l.id, l.person_id, p.display_name as name, l.server, l.sealed
    from mcp_login l join person p on p.id = l.person_id and p.disabled_at is null
    where l.ticket_hash = ${ticketHash} and l.browser_hash is null and ${open}
  `.execute(db);
  const row = rows[0];
  return row === undefined
    ? undefined
    : { id: row.id, personId: row.person_id, personName: row.name, server: row.server, sealed: row.sealed };
}

/** Ties a login to the browser that confirmed it, once. @returns false when another one did. */
export async function bindBrowser(db: Db, ticketHash: string, browserHash: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update mcp_login l set browser_hash = ${browserHash}
    where l.ticket_hash = ${ticketHash} and l.browser_hash is null and ${open}
  `.execute(db);
  return (numAffectedRows ?? 0n) > 0n;
}

/** Uses up the login a state belongs to, if it came back to the browser that began it. */
export async function useLogin(db: Db, stateHash: string, browserHash: string): Promise<LoginRow | undefined> {
  const { rows } = await sql<{ id: string; person_id: string; name: string; server: string; sealed: string }>`
    update mcp_login l set used_at = clock_timestamp()
    from person p
    where p.id = l.person_id and p.disabled_at is null and l.state_hash = ${stateHash}
      and l.browser_hash = ${browserHash} and ${open}
    returning l.id, l.person_id, p.display_name as name, l.server, l.sealed
  `.execute(db);
  const row = rows[0];
  return row === undefined
    ? undefined
    : { id: row.id, personId: row.person_id, personName: row.name, server: row.server, sealed: row.sealed };
}

/** What an authorization server gave a person for one resource. */
export interface GrantRow {
  readonly issuer: string;
  readonly resource: string;
  readonly sealed: string;
  readonly updatedAt: Date;
}

/** The grants of a person for a resource, the newest first. */
export async function selectGrants(db: Db | Tx, personId: string, resource: string): Promise<GrantRow[]> {
  const { rows } = await sql<{ issuer: string; resource: string; sealed: string; updated_at: Date }>`
    select issuer, resource, sealed, updated_at from mcp_grant
    where person_id = ${personId} and resource = ${resource} order by updated_at desc
  `.execute(db);
  return rows.map((row) => ({
    issuer: row.issuer,
    resource: row.resource,
    sealed: row.sealed,
    updatedAt: row.updated_at,
  }));
}

/** Whose logins there are, without what they hold. */
export async function selectGrantHolders(db: Db): Promise<
  readonly {
    readonly personName: string;
    readonly issuer: string;
    readonly resource: string;
    readonly updatedAt: Date;
  }[]
> {
  const { rows } = await sql<{ name: string; issuer: string; resource: string; updated_at: Date }>`
    select p.display_name as name, g.issuer, g.resource, g.updated_at
    from mcp_grant g join person p on p.id = g.person_id order by g.updated_at desc
  `.execute(db);
  return rows.map((row) => ({
    personName: row.name,
    issuer: row.issuer,
    resource: row.resource,
    updatedAt: row.updated_at,
  }));
}

export async function putGrant(
  db: Db | Tx,
  grant: { readonly personId: string; readonly issuer: string; readonly resource: string; readonly sealed: string },
): Promise<void> {
  await sql`
    insert into mcp_grant (person_id, issuer, resource, sealed)
    values (${grant.personId}, ${grant.issuer}, ${grant.resource}, ${grant.sealed})
    on conflict (person_id, issuer, resource) do update
      set sealed = excluded.sealed, updated_at = clock_timestamp()
  `.execute(db);
}

/** @returns how many there were. */
export async function deleteGrants(db: Db | Tx, personId: string, resource: string): Promise<number> {
  const { numAffectedRows } = await sql`
    delete from mcp_grant where person_id = ${personId} and resource = ${resource}
  `.execute(db);
  return Number(numAffectedRows ?? 0n);
}

/** Lets one process at a time renew a person's grant: a refresh token that is used twice is revoked by most servers. */
export async function lockGrant(tx: Tx, personId: string, resource: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`mcp grant ${personId} ${resource}`}, 0))`.execute(tx);
}

/** Our registration at an authorization server, sealed. */
export async function selectClient(db: Db | Tx, issuer: string, redirectUri: string): Promise<string | undefined> {
  const { rows } = await sql<{ sealed: string }>`
    select sealed from mcp_client where issuer = ${issuer} and redirect_uri = ${redirectUri}
  `.execute(db);
  return rows[0]?.sealed;
}

export async function putClient(
  db: Db | Tx,
  client: { readonly issuer: string; readonly redirectUri: string; readonly sealed: string },
): Promise<void> {
  await sql`
    insert into mcp_client (issuer, redirect_uri, sealed) values (${client.issuer}, ${client.redirectUri}, ${client.sealed})
    on conflict (issuer, redirect_uri) do update set sealed = excluded.sealed
  `.execute(db);
}

export async function deleteClient(db: Db | Tx, issuer: string, redirectUri: string): Promise<void> {
  await sql`delete from mcp_client where issuer = ${issuer} and redirect_uri = ${redirectUri}`.execute(db);
}

/** Whether a person was sent a link for this server a moment ago, so that they are not sent one for every call. */
export async function hasRecentLogin(db: Db, personId: string, server: string): Promise<boolean> {
  const { rows } = await sql`
    select 1 from mcp_login l
    where l.person_id = ${personId} and l.server = ${server} and ${open}
      and l.created_at > clock_timestamp() - interval '2 minutes'
  `.execute(db);
  return rows.length > 0;
}
