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

/**
 * Writes what an account is like now. One that is halted stays so while it merely stops and starts again: only a
 * connection shows that it works.
 * @returns the state it had before (undefined for one that is new) and the one it has.
 */
export async function upsertAccount(
  tx: Tx,
  account: { readonly channel: string; readonly account: string },
  health: { readonly state: string; readonly detail: string },
): Promise<{ readonly before: string | undefined; readonly after: string }> {
  // A statement of its own: within one, a row that was just written can no longer be locked as it was.
  const before = await sql<{ state: string }>`
    select state from channel_account where channel = ${account.channel} and account = ${account.account} for update
  `.execute(tx);
  const isRestart = sql`channel_account.state = 'halted' and excluded.state in ('starting', 'disconnected')`;
  const { rows } = await sql<{ state: string }>`
    insert into channel_account (channel, account, state, detail)
    values (${account.channel}, ${account.account}, ${health.state}, ${toWellFormed(health.detail).slice(0, 500)})
    on conflict (channel, account) do update set
      state = case when ${isRestart} then channel_account.state else excluded.state end,
      detail = case when ${isRestart} then channel_account.detail else excluded.detail end,
      updated_at = clock_timestamp()
    returning state
  `.execute(tx);
  return { before: before.rows[0]?.state, after: rows[0]?.state ?? health.state };
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
