import path from 'node:path';
import type { Channel } from '#bots/channel.ts';
import { openConsoleDesk } from '#bots/console/console-desk.ts';
import { ConsoleFeed } from '#bots/console/console-feed.ts';
import { EventReceiver } from '#bots/receive-events.ts';
import { approvalCommands } from '#core/commands/approval-commands.ts';
import { createRunCommand } from '#core/commands/command.ts';
import type { CommandDeps } from '#core/commands/command-deps.ts';
import { commandList } from '#core/commands/command-list.ts';
import { costCommands } from '#core/commands/cost-commands.ts';
import { threadCommands } from '#core/commands/thread-commands.ts';
import { routeInbound } from '#core/inbox/route-inbound.ts';
import { aborted } from '#core/kit/aborted.ts';
import { AppError } from '#core/kit/errors.ts';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { parseModelRef } from '#core/models/model-ref.ts';
import { createAcceptMessage } from '#core/turns/accept-message.ts';
import type { BoardQueue } from '#server/bull-board/board-routes.ts';
import { openGatewayReads } from '#server/gateway-store.ts';
import { ensureSecretFile } from '#server/secret-file.ts';
import { type Server, startServer } from '#server/start-server.ts';
import { whileHoldingAccount } from './account-lock.ts';
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
  onListening: (server: Server) => void,
): readonly Part[] {
  const { db, log, clock, queue, agents, config, databaseUrl } = services;
  const feed = new ConsoleFeed({ databaseUrl, clock, log });
  return [
    { name: 'console feed', run: async (signal) => await feed.run(signal) },
    ...services.channels.flatMap((channel): Part[] => {
      const receiver = createReceiver(channel);
      const name = `${channel.channel} ${channel.account}`;
      const connect = async (signal: AbortSignal): Promise<void> => {
        receiver.open(signal);
        await channel.registerCommands(commandList).catch((err: unknown) => {
          // A token that is refused is told once, by the connection itself.
          const level = channel.classify(err).kind === 'auth' ? 'debug' : 'warn';
          log[level]({ err, channel: channel.channel }, 'commands could not be registered');
        });
        await channel.run(receiver.ingest, signal);
      };
      return [
        { name: `${name} inbox`, run: async (signal) => await receiver.sweep(signal) },
        {
          name,
          // The console's events come through this process's own server, so each gateway has its own.
          run: async (signal) =>
            channel === services.console
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
            // The dashboard's types know the default backend only; its adapter uses what both have in common.
            queues: queue.queues as readonly BoardQueue[],
            reads: openGatewayReads(db),
            checks: readinessChecks(services),
            hooks: services.channels.flatMap((channel) => channel.routes ?? []),
            log,
          },
          {
            host: config.host,
            port: config.port,
            hostsAllowed: config.publicUrl === undefined ? [] : [new URL(config.publicUrl).hostname],
            ...secrets,
            signal,
          },
        );
        onListening(server);
        await aborted(signal);
      },
    },
  ];

  function createReceiver(channel: Channel): EventReceiver {
    const acceptTurn = turnAcceptor({ db, wakes: queue.wakes });
    const acceptMessage = createAcceptMessage({
      db,
      acceptTurn,
      defaultAgent: config.defaultAgent,
      findAgent: async (name) => await agents.find(name),
    });
    const deps: CommandDeps = {
      db,
      defaultAgent: config.defaultAgent,
      findAgent: async (name) => await agents.find(name),
      listAgents: async () => await agents.list(),
      modelOf: async (name) => {
        const agent = await agents.find(name);
        return agent === undefined ? 'none' : parseModelRef(agent.model, config.defaultModel).text;
      },
      acknowledge: async (event, text, isAlert) =>
        await channel.acknowledge(event.interactionToken, { text, isAlert }).catch(() => undefined),
      ring: async (wakes) => await queue.wakes.ring(wakes),
    };
    const runCommand = createRunCommand(
      { db },
      { ...threadCommands(deps), ...approvalCommands(deps), ...costCommands(deps) },
      {
        run: async (known, args) => {
          if (args.trim() === '') {
            throw new AppError('command.invalid', 'What shall I work on?', { mend: 'Write /run and then the task.' });
          }
          await acceptMessage(known, { text: args, kind: 'task', files: [] });
        },
      },
    );
    const routeDeps = {
      db,
      log,
      acceptMessage,
      runCommand,
      acknowledge: deps.acknowledge,
      operatorChannels: new Set(['console']),
      onRoomEvent: {},
      onPersonEvent: {},
      takeAnswer: async () => false,
    };
    return new EventReceiver(
      { db, log, route: async (id, event) => await routeInbound(routeDeps, id, event) },
      channel,
    );
  }
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
