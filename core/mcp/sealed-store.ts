import { sql } from 'kysely';
import type { Tx } from '../kit/database.ts';
import { clientScope, grantScope, loginScope } from './seal-scopes.ts';

/** A sealed text with what it is bound to. */
export interface SealedText {
  readonly scope: string;
  readonly sealed: string;
  replace(sealed: string): Promise<void>;
}

/** Every sealed text of logins that may still be opened, its row locked until the end of the transaction. */
export async function lockSealed(tx: Tx): Promise<readonly SealedText[]> {
  const grants = await sql<{ person_id: string; issuer: string; resource: string; sealed: string }>`
    select person_id, issuer, resource, sealed from mcp_grant order by person_id, issuer, resource for update
  `.execute(tx);
  const clients = await sql<{ issuer: string; redirect_uri: string; sealed: string }>`
    select issuer, redirect_uri, sealed from mcp_client order by issuer, redirect_uri for update
  `.execute(tx);
  const logins = await sql<{ id: string; person_id: string; sealed: string }>`
    select id, person_id, sealed from mcp_login where used_at is null and expires_at > clock_timestamp()
    order by id for update
  `.execute(tx);
  return [
    ...grants.rows.map((row) => ({
      scope: grantScope(row.person_id, row.issuer, row.resource),
      sealed: row.sealed,
      replace: async (sealed: string) => {
        await sql`
          update mcp_grant set sealed = ${sealed}
          where person_id = ${row.person_id} and issuer = ${row.issuer} and resource = ${row.resource}
        `.execute(tx);
      },
    })),
    ...clients.rows.map((row) => ({
      scope: clientScope(row.issuer, row.redirect_uri),
      sealed: row.sealed,
      replace: async (sealed: string) => {
        await sql`
          update mcp_client set sealed = ${sealed} where issuer = ${row.issuer} and redirect_uri = ${row.redirect_uri}
        `.execute(tx);
      },
    })),
    ...logins.rows.map((row) => ({
      scope: loginScope(row.id, row.person_id),
      sealed: row.sealed,
      replace: async (sealed: string) => {
        await sql`update mcp_login set sealed = ${sealed} where id = ${row.id}`.execute(tx);
      },
    })),
  ];
}
