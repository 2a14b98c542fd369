import { createHash } from 'node:crypto';
import { appendAudit } from '../audit/append-audit.ts';
import type { Clock } from '../kit/clock.ts';
import type { Db } from '../kit/database.ts';
import { isAppError } from '../kit/errors.ts';
import type { Log } from '../kit/log.ts';
import { SteadyConnection } from '../kit/steady-connection.ts';
import type { SecretBook } from '../redaction/secret-book.ts';
import type { KekSource } from './kek-source.ts';
import { vaultSource } from './open-credentials.ts';
import { openSecret } from './seal-secret.ts';
import type { SealedSecret } from './secret.ts';
import { selectVersions } from './vault-store.ts';

export interface SecretWatchDeps {
  readonly db: Db;
  readonly databaseUrl: string;
  readonly kek: KekSource;
  readonly secrets: SecretBook;
  readonly clock: Clock;
  readonly log: Log;
}

/** Looks without being told: a notification may be lost with its connection, a key file may have come meanwhile. */
const lookMs = 5_000;
/** Secrets opened at once: each may be a call of a program. */
const openMax = 4;

/** Keeps a process knowing every secret of the vault, so that none is seen in what leaves it. */
export class SecretWatch {
  readonly #deps: SecretWatchDeps;
  /** Values by what their row was when it was opened. */
  #opened = new Map<string, string>();
  readonly #reported = new Set<string>();
  #isUnavailable = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(deps: SecretWatchDeps) {
    this.#deps = deps;
  }

  /** Listens and looks until the signal aborts. While the database is away, what is known stays known. */
  async run(signal: AbortSignal): Promise<void> {
    const { databaseUrl, clock, log } = this.#deps;
    let nudge = Promise.withResolvers<void>();
    await using connection = new SteadyConnection({
      url: databaseUrl,
      applicationName: 'switchyard-vault',
      log,
      onConnect: async (run) => {
        await run('listen vault');
        nudge.resolve();
      },
      onNotify: () => nudge.resolve(),
    });
    await connection.open().catch((err: unknown) => log.warn({ err }, 'changes of the vault are not heard'));
    while (!signal.aborted) {
      nudge = Promise.withResolvers();
      await this.look().catch((err: unknown) => log.warn({ err }, 'secrets could not be read'));
      const waiting = new AbortController();
      await Promise.race([
        nudge.promise,
        clock.sleep(lookMs, AbortSignal.any([signal, waiting.signal])).catch(() => undefined),
      ]);
      waiting.abort();
    }
  }

  /** Reads once; a process does it before anything else may say something. */
  async look(): Promise<void> {
    const look = this.#looking.then(async () => await this.#read());
    this.#looking = look.catch(() => undefined);
    await look;
  }

  async #read(): Promise<void> {
    const rows = await selectVersions(this.#deps.db);
    const opened = new Map<string, string>();
    const labels = new Map<string, string>();
    let isUnavailable = false;
    for (let at = 0; at < rows.length; at += openMax) {
      const values = await Promise.all(
        rows.slice(at, at + openMax).map(async (row) => ({ row, value: await this.#open(row) })),
      );
      for (const { row, value } of values) {
        if (value === undefined) continue;
        if (value === 'unavailable') isUnavailable = true;
        else {
          opened.set(keyOf(row), value.text);
          labels.set(value.text, row.name);
        }
      }
    }
    if (isUnavailable && !this.#isUnavailable) {
      this.#deps.log.error('secrets of the vault cannot be opened here and are not taken out of what is said');
    }
    this.#isUnavailable = isUnavailable;
    this.#opened = opened;
    this.#deps.secrets.replace(
      vaultSource,
      [...labels].map(([value, label]) => ({ value, label })),
    );
  }

  /** @returns undefined for a row that is not as it was sealed. */
  async #open(row: SealedSecret): Promise<{ readonly text: string } | 'unavailable' | undefined> {
    const key = keyOf(row);
    const known = this.#opened.get(key);
    if (known !== undefined) return { text: known };
    try {
      return { text: await openSecret(this.#deps.kek, row) };
    } catch (err) {
      if (!isAppError(err)) throw err;
      if (err.code === 'vault.tampered') return await this.#report(row, key);
      this.#deps.log.debug({ err, name: row.name }, 'secret could not be opened');
      return 'unavailable';
    }
  }

  async #report(row: SealedSecret, key: string): Promise<undefined> {
    if (this.#reported.has(key)) return undefined;
    this.#reported.add(key);
    const { name, version } = row;
    this.#deps.log.error({ name, version }, 'a row of the vault is not as it was sealed');
    await appendAudit(this.#deps.db, [{ kind: 'vault.tampered', chainKey: `vault:${name}`, body: { name, version } }]);
    return undefined;
  }
}

/** Everything the seal depends on but the wrapped key, which changes with the master key alone. */
function keyOf({ name, version, agents, hosts, sealed }: SealedSecret): string {
  const digest = createHash('sha256').update(JSON.stringify([name, version, agents, hosts]));
  return digest.update(sealed).digest('base64');
}
