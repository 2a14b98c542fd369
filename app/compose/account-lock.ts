import { createHash } from 'node:crypto';
import pg from 'pg';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';

/** First key of our account locks; 77 is the workers'. */
const lockClass = 78;
const retryMs = 1000;

/**
 * Runs `work` while this process holds the account: a platform hands its events to one connection at a time, so of
 * several gateways one is connected and the others stand by. The lock is the database session's: it falls with the
 * process or the connection, and then `work` is aborted and another gateway takes over.
 */
export async function whileHoldingAccount(
  deps: { readonly databaseUrl: string; readonly clock: Clock; readonly log: Log },
  account: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const key = createHash('sha256').update(account).digest().readInt32BE(0);
  while (!signal.aborted) {
    const client = new pg.Client({
      connectionString: deps.databaseUrl,
      application_name: `switchyard account ${account}`,
    });
    const lost = new AbortController();
    client.on('error', (err) => lost.abort(err));
    client.on('end', () => lost.abort(new Error('the connection that holds the account is gone')));
    try {
      await client.connect();
      const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock($1, $2) as held', [
        lockClass,
        key,
      ]);
      if (rows[0]?.held === true) await work(AbortSignal.any([signal, lost.signal]));
    } catch (err) {
      deps.log.warn({ err, account }, 'account connection failed');
    } finally {
      await client.end().catch(() => undefined);
    }
    await deps.clock.sleep(retryMs, signal).catch(() => undefined);
  }
}
