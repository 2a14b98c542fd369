import pg from 'pg';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';

const retryMs = 500;

/** Calls `onNotice` for every notification of a channel until the signal aborts; reconnects by itself. */
export async function listen(
  deps: { readonly databaseUrl: string; readonly clock: Clock; readonly log: Log },
  channel: string,
  onNotice: () => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const client = new pg.Client({
      connectionString: deps.databaseUrl,
      application_name: `switchyard listen ${channel}`,
    });
    const over = new Promise<void>((resolve) => {
      client.on('error', () => resolve());
      client.on('end', () => resolve());
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      await client.connect();
      client.on('notification', onNotice);
      await client.query(`listen ${client.escapeIdentifier(channel)}`);
      // Whatever was said before the connection stood has to be looked for once.
      onNotice();
      await over;
    } catch (err) {
      deps.log.warn({ err, channel }, 'listening failed');
    } finally {
      await client.end().catch(() => undefined);
    }
    if (!signal.aborted) await deps.clock.sleep(retryMs, signal).catch(() => undefined);
  }
}
