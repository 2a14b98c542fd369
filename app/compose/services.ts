import type { Channel } from '#bots/channel.ts';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import { type AgentDirectory, openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { openQueueBackend, type QueueBackend } from '#core/queue/queue-backend.ts';
import type { Redactor } from '#core/redaction/redactor.ts';
import type { SecretBook } from '#core/redaction/secret-book.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import { openCredentials } from '#core/vault/open-credentials.ts';
import { SecretWatch } from '#core/vault/secret-watch.ts';
import type { Config } from '../config.ts';
import { openKek } from '../open-vault.ts';
import { openChannels } from './open-channels.ts';
import { createSuggest } from './suggest-values.ts';

/** What gateway and worker share within one process. */
export interface Services {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly db: Db;
  readonly databaseUrl: string;
  readonly queue: QueueBackend;
  readonly agents: AgentDirectory;
  readonly console: ConsoleChannel;
  readonly web: WebChannel;
  /** Every channel that is configured; each sends from any process and receives in the gateway. */
  readonly channels: readonly Channel[];
  /** Takes secrets out of what leaves this process. */
  readonly redactor: Redactor;
  /** What this process knows to be secret; whoever gets hold of another secret adds it. */
  readonly secrets: SecretBook;
  /** Opens secrets of the vault for those who may use them. */
  readonly credentials: CredentialSource;
  readonly secretWatch: SecretWatch;
}

/** Opens what every process needs; dispose the queue last. */
export async function openServices(options: {
  readonly config: Config;
  readonly log: Log;
  readonly db: Db;
  readonly databaseUrl: string;
  readonly redactor: Redactor;
  readonly secrets: SecretBook;
}): Promise<Services> {
  const { config, log, db, databaseUrl, redactor, secrets } = options;
  const kek = openKek(config);
  const secretWatch = new SecretWatch({ db, databaseUrl, kek, secrets, clock: systemClock, log });
  // Known before anything can be said.
  await secretWatch.look();
  const queue = await openQueueBackend(
    config.queueBackend === 'redis' && config.redisUrl !== undefined
      ? { kind: 'redis', redisUrl: config.redisUrl }
      : { kind: 'postgres', databaseUrl },
    log,
  );
  const consoleChannel = new ConsoleChannel({ db, log });
  const webChannel = new WebChannel({ db, log });
  const agents = openAgentDirectory({ db, clock: systemClock });
  const suggest = createSuggest({ db, agents });
  return {
    config,
    log,
    clock: systemClock,
    db,
    databaseUrl,
    queue,
    agents,
    console: consoleChannel,
    web: webChannel,
    redactor,
    secrets,
    credentials: openCredentials({ db, kek, secrets }),
    secretWatch,
    channels: [consoleChannel, webChannel, ...(await openChannels({ config, db, log, suggest }))],
  };
}
