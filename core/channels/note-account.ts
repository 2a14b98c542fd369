import type { Db } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { Log } from '../kit/log.ts';
import { tellOperators } from '../people/tell-operators.ts';
import { upsertAccount } from './account-store.ts';

export interface AccountHealth {
  readonly state: 'starting' | 'connected' | 'standby' | 'disconnected' | 'halted';
  /** One line; never a secret. */
  readonly detail: string;
}

/**
 * Writes the health of one of our accounts, for every process and for `switchyard channel list`. That an account is
 * halted (its token is refused, it lacks a right), and that it works again afterwards, is told to the owners once, on
 * another channel.
 */
export async function noteAccount(
  deps: { readonly db: Db; readonly log: Log },
  account: { readonly channel: string; readonly account: string },
  health: AccountHealth,
): Promise<void> {
  const { db, log } = deps;
  await db.transaction().execute(async (tx) => {
    const { before, after } = await upsertAccount(tx, account, health);
    if (before === after) return;
    log.info({ ...account, ...health, before }, 'channel state changed');
    const markdown =
      health.state === 'halted'
        ? `My ${account.channel} account has stopped: ${health.detail} Everything else runs on.`
        : before === 'halted' && health.state === 'connected'
          ? `My ${account.channel} account works again.`
          : undefined;
    if (markdown === undefined) return;
    await tellOperators(tx, {
      key: `account:${newId()}`,
      level: health.state === 'halted' ? 'error' : 'success',
      markdown,
      exceptAccount: account,
    });
  });
}
