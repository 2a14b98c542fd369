import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import type { PersonRole } from './person.ts';

const accountSchema = z.object({
  id: z.string(),
  channel: z.string(),
  account: z.string(),
  externalId: z.string(),
  displayName: z.string(),
  admittedBy: z.string().nullable(),
});

/** An account of somebody, as the directory shows it. */
export type ListedAccount = z.infer<typeof accountSchema>;

/** A person with their accounts. */
export interface ListedPerson {
  readonly id: string;
  readonly displayName: string;
  readonly role: PersonRole;
  readonly lastSeenAt: Date | undefined;
  readonly accounts: readonly ListedAccount[];
}

const account = sql`
  jsonb_build_object('id', i.id, 'channel', i.channel, 'account', i.account, 'externalId', i.external_id,
    'displayName', i.display_name, 'admittedBy', i.admitted_by)`;

/** Everyone who may use the product, owners first, then in the order they came. */
export async function selectPeople(db: Db | Tx): Promise<ListedPerson[]> {
  const { rows } = await sql<{
    id: string;
    display_name: string;
    role: PersonRole;
    last_seen_at: Date | null;
    accounts: unknown;
  }>`
    select p.id, p.display_name, p.role, max(i.last_seen_at) as last_seen_at,
           coalesce(jsonb_agg(${account} order by i.channel, i.external_id) filter (where i.id is not null), '[]'::jsonb)
             as accounts
    from person p left join identity i on i.person_id = p.id
    where p.disabled_at is null group by p.id
    order by array_position(array['owner', 'admin', 'member'], p.role), p.created_at, p.id
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    displayName: row.display_name,
    role: row.role,
    lastSeenAt: row.last_seen_at ?? undefined,
    accounts: z.array(accountSchema).parse(row.accounts),
  }));
}

/** Accounts that wrote to us and belong to nobody (any more), those that were refused last first. */
export async function selectStrangers(db: Db | Tx, rowsMax: number): Promise<ListedAccount[]> {
  const { rows } = await sql<{ account: unknown }>`
    select ${account} as account from identity i left join person p on p.id = i.person_id
    where p.id is null or p.disabled_at is not null
    order by i.refused_at desc nulls last, i.created_at desc limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => accountSchema.parse(row.account));
}

/** Our accounts on a channel, to let somebody in who has not written yet. */
export async function selectOwnAccounts(db: Db | Tx, channel: string): Promise<string[]> {
  const { rows } = await sql<{ account: string }>`
    select account from channel_account where channel = ${channel} order by account
  `.execute(db);
  return rows.map((row) => row.account);
}
