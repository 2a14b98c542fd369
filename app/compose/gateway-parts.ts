import path from 'node:path';
import { openConsoleDesk } from '#bots/console/console-desk.ts';
import { HostedFeed } from '#bots/hosted/hosted-feed.ts';
import { openWebDesk } from '#bots/web/web-desk.ts';
import { commandList } from '#core/commands/command-list.ts';
import { aborted } from '#core/kit/aborted.ts';
import { dropMessage, listUndelivered, resendMessage } from '#core/outbox/undelivered.ts';
import type { BoardQueue } from '#server/bull-board/board-routes.ts';
import { openGatewayReads } from '#server/gateway-store.ts';
import type { ProcessHealth } from '#server/health-routes.ts';
import { ensureSecretFile } from '#server/secret-file.ts';
import { type Server, startServer } from '#server/start-server.ts';
import { whileHoldingAccount } from './account-lock.ts';
import { AccountWatch } from './account-watch.ts';
import { ChannelHealthBook } from './channel-health.ts';
import { openMcpLogins, productVersion } from './open-mcp.ts';
import { openReceiver } from './open-receiver.ts';
import type { Part } from './run-parts.ts';
import type { Services } from './services.ts';

/** Secrets of the gateway that live as files in the data directory. */
export interface GatewaySecrets {
  readonly operatorToken: string;
  readonly loginToken: string;
  readonly cookieKey: string;
}

export async function openGatewaySecrets(dataDir: string): Promise<GatewaySecrets> {
  return {
    operatorToken: await ensureSecretFile(path.join(dataDir, 'operator-token')),
    loginToken: await ensureSecretFile(path.join(dataDir, 'login-token')),
    cookieKey: await ensureSecretFile(path.join(dataDir, 'cookie-key')),
  };
}

/** The gateway: channels in, console API, health and queue pages. `onListening` is called once the port is open. */
export function gatewayParts(
  services: Services,
  secrets: GatewaySecrets,
  health: () => ProcessHealth,
  onListening: (server: Server) => void,
): readonly Part[] {
  const { db, log, clock, queue, config, databaseUrl } = services;
  const feed = new HostedFeed({ databaseUrl, clock, log });
  const watch = new AccountWatch({ db, clock, log });
  const channelHealth = new ChannelHealthBook({ db, clock, log });
  return [
    { name: 'accounts', run: async (signal) => await watch.run(signal) },
    { name: 'channel health', run: async (signal) => await channelHealth.run(signal) },
    { name: 'conversation feed', run: async (signal) => await feed.run(signal) },
    ...services.channels.flatMap((channel): Part[] => {
      const receiver = openReceiver(services, channel);
      const name = `${channel.channel} ${channel.account}`;
      const open = async (signal: AbortSignal): Promise<void> => {
        receiver.open(signal);
        await channel.registerCommands(commandList).catch((err: unknown) => {
          // A token that is refused is told once, by the connection itself.
          const level = channel.classify(err).kind === 'auth' ? 'debug' : 'warn';
          log[level]({ err, channel: channel.channel }, 'commands could not be registered');
        });
        await channel.run(receiver.ingest, signal);
      };
      const connect = async (signal: AbortSignal): Promise<void> => {
        using _written = channelHealth.write(channel);
        await watch.whileEnabled(channel, signal, open);
      };
      return [
        { name: `${name} inbox`, run: async (signal) => await receiver.sweep(signal) },
        {
          name,
          // Events of console and web come through this process's own server, so each gateway has its own.
          run: async (signal) =>
            channel === services.console || channel === services.web
              ? await connect(signal)
              : await whileHoldingAccount({ databaseUrl, clock, log }, name, signal, connect),
        },
      ];
    }),
    {
      name: 'server',
      run: async (signal) => {
        await using server = await startServer(
          {
            console: openConsoleDesk({ db, channel: services.console, feed }),
            web: openWebDesk({ db, channel: services.web, feed }),
            // The dashboard's types know the default backend only; its adapter uses what both have in common.
            queues: queue.queues as readonly BoardQueue[],
            reads: openGatewayReads(db),
            outbox: {
              list: async () => await listUndelivered(db),
              resend: async (id) => await resendMessage(db, id),
              drop: async (id) => await dropMessage(db, id),
            },
            checks: readinessChecks(services),
            channels: () =>
              services.channels.map((channel) => ({ name: channel.channel, state: channel.health().state })),
            process: health,
            hooks: services.channels.flatMap((channel) => channel.routes ?? []),
            mcp: {
              tools: {
                db,
                log,
                version: productVersion(),
                defaultAgent: config.defaultAgent,
                findAgent: async (name) => await services.agents.find(name),
                ring: async (wakes) => await queue.wakes.ring(wakes),
              },
              desk: openMcpLogins(services),
            },
            log,
          },
          {
            host: config.host,
            port: config.port,
            hostsAllowed: config.publicUrl === undefined ? [] : [new URL(config.publicUrl).hostname],
            ...(config.publicUrl === undefined ? {} : { publicUrl: config.publicUrl }),
            ...secrets,
            signal,
          },
        );
        onListening(server);
        await aborted(signal);
      },
    },
  ];
}

function readinessChecks(services: Services) {
  return [
    {
      name: 'database',
      check: async () => {
        await services.agents.list();
      },
    },
    {
      name: 'queue',
      check: async () => {
        await services.queue.wakes.counts();
      },
    },
  ];
}
