import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { nearestWord } from '../kit/nearest-word.ts';
import { type AccountRow, selectAccounts, updateEnabled } from './account-store.ts';

/** Every account a gateway has opened, with its health as last written. */
export async function listAccounts(db: Db): Promise<readonly AccountRow[]> {
  return await selectAccounts(db);
}

/**
 * Switches the accounts of a channel on or off while everything runs; gateways and workers notice within two seconds.
 * What is to be said waits in the outbox meanwhile.
 * @param name a channel, or `channel:account` for one of several accounts.
 * @returns the accounts that were the other way round before.
 * @throws AppError `command.invalid` when no such channel was ever opened.
 */
export async function switchChannel(
  db: Db,
  name: string,
  options: { readonly isEnabled: boolean; readonly by: string },
): Promise<readonly string[]> {
  const [channel = '', ...rest] = name.split(':');
  const account = rest.length === 0 ? undefined : rest.join(':');
  return await db.transaction().execute(async (tx) => {
    const known = await selectAccounts(tx);
    if (!known.some((row) => row.channel === channel && (account === undefined || row.account === account))) {
      const names = [...new Set(known.map((row) => row.channel))];
      const near = nearestWord(channel, names);
      throw new AppError('command.invalid', `There is no channel "${name.slice(0, 60)}".`, {
        mend:
          near !== undefined
            ? `Did you mean ${near}?`
            : names.length === 0
              ? 'None was opened yet: run ./switchyard up first.'
              : `There are: ${names.join(', ')}.`,
      });
    }
    const changed = await updateEnabled(tx, { channel, account }, options.isEnabled);
    if (changed.length > 0) {
      await appendAudit(tx, [
        {
          kind: options.isEnabled ? 'channel.enabled' : 'channel.disabled',
          chainKey: `channel:${channel}`,
          body: { channel, accounts: changed, by: options.by },
        },
      ]);
    }
    return changed;
  });
}
