import type { Channel } from '#bots/channel.ts';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import { type AgentDirectory, openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { openQueueBackend, type QueueBackend } from '#core/queue/queue-backend.ts';
import type { Config } from '../config.ts';
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
}

/** Opens what every process needs; dispose the queue last. */
export async function openServices(options: {
  readonly config: Config;
  readonly log: Log;
  readonly db: Db;
  readonly databaseUrl: string;
}): Promise<Services> {
  const { config, log, db, databaseUrl } = options;
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
    channels: [consoleChannel, webChannel, ...(await openChannels({ config, db, log, suggest }))],
  };
}
