import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';

export interface AccountRow {
  readonly channel: string;
  readonly account: string;
  readonly isEnabled: boolean;
  readonly state: string;
  readonly detail: string;
  readonly updatedAt: Date;
}

/** Writes what an account is like now. @returns the state it had before; undefined for one that is new. */
export async function upsertAccount(
  tx: Db | Tx,
  account: { readonly channel: string; readonly account: string },
  health: { readonly state: string; readonly detail: string },
): Promise<string | undefined> {
  const { rows } = await sql<{ before: string | null }>`
    with before as (
      select state from channel_account where channel = ${account.channel} and account = ${account.account}
      for update
    ), written as (
      insert into channel_account (channel, account, state, detail)
      values (${account.channel}, ${account.account}, ${health.state}, ${toWellFormed(health.detail).slice(0, 500)})
      on conflict (channel, account) do update set
        state = excluded.state, detail = excluded.detail, updated_at = clock_timestamp()
    )
    select (select state from before) as before
  `.execute(tx);
  return rows[0]?.before ?? undefined;
}

/** Switches accounts on or off. @returns those that were the other way round before. */
export async function updateEnabled(
  tx: Tx,
  which: { readonly channel: string; readonly account: string | undefined },
  isEnabled: boolean,
): Promise<string[]> {
  const { rows } = await sql<{ account: string }>`
    update channel_account set is_enabled = ${isEnabled}
    where channel = ${which.channel} and (${which.account ?? null}::text is null or account = ${which.account ?? null})
      and is_enabled <> ${isEnabled}
    returning account
  `.execute(tx);
  return rows.map((row) => row.account);
}

export async function selectAccounts(db: Db | Tx): Promise<AccountRow[]> {
  const { rows } = await sql<{
    channel: string;
    account: string;
    is_enabled: boolean;
    state: string;
    detail: string;
    updated_at: Date;
  }>`
    select channel, account, is_enabled, state, detail, updated_at from channel_account order by channel, account
  `.execute(db);
  return rows.map((row) => ({
    channel: row.channel,
    account: row.account,
    isEnabled: row.is_enabled,
    state: row.state,
    detail: row.detail,
    updatedAt: row.updated_at,
  }));
}
