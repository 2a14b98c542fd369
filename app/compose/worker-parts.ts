import path from 'node:path';
import { expireHolds } from '#core/budgets/expire-holds.ts';
import { openLedger } from '#core/budgets/open-ledger.ts';
import { createCooldowns } from '#core/models/cooldown.ts';
import { createCooldownStore } from '#core/models/cooldown-store.ts';
import { createPriceBook } from '#core/models/price-book.ts';
import { createPriceStore } from '#core/models/price-store.ts';
import { dropStale } from '#core/outbox/drop-stale.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';
import { DeliveryLoop } from '#workers/delivery/delivery-loop.ts';
import { LaneRunner } from '#workers/lane/lane-runner.ts';
import { WorkerPresence } from '#workers/lane/worker-presence.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { SandboxPort } from '#workers/sandbox/sandbox.ts';
import { createAskModel } from '#workers/turn/ask-model.ts';
import { createGate } from '#workers/turn/gate.ts';
import { runClaimedTurn } from '#workers/turn/run-claimed-turn.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';
import { every } from '#workers/upkeep/every.ts';
import { sweepApprovals } from '#workers/upkeep/sweep-approvals.ts';
import { sweepDeliveries } from '#workers/upkeep/sweep-deliveries.ts';
import { sweepLanes } from '#workers/upkeep/sweep-lanes.ts';
import { sandboxImage } from '../sandbox-image.ts';
import type { Part } from './run-parts.ts';
import type { Services } from './services.ts';
import { createTools } from './tools.ts';

const secondMs = 1000;

/** The worker: lanes and turns, deliveries, upkeep. Everything it owns is disposed with the returned stack. */
export async function openWorker(
  services: Services,
): Promise<{ readonly parts: readonly Part[]; readonly sandboxes: SandboxPort } & AsyncDisposable> {
  const { db, log, clock, queue, config, databaseUrl } = services;
  const stack = new AsyncDisposableStack();
  const presence = stack.use(await WorkerPresence.open({ databaseUrl, log }));
  const sandboxes = stack.use(openSandboxes(services));
  const deliveries = services.channels.map((sender) => ({
    sender,
    loop: new DeliveryLoop({ db, log, clock, sender, owner: presence.id }),
  }));
  const turnDeps = createTurnDeps(services, sandboxes);
  const runner = new LaneRunner(
    {
      db,
      log,
      wakes: queue.wakes,
      presence,
      runTurn: async (turn, context) => await runClaimedTurn(turnDeps, turn, context),
    },
    { slots: config.workerSlots, drainMs: config.limits.drainSeconds * secondMs },
  );
  const parts: Part[] = [
    {
      name: 'lane sweep',
      run: async (signal) => await sweepLanes({ db, log, clock, wakes: queue.wakes }, signal),
    },
    upkeep('approvals', secondMs, async (signal) => {
      await sweepApprovals({ db, ring: async (wakes) => await queue.wakes.ring(wakes) }, signal);
    }),
    upkeep('stale messages', 10 * secondMs, async () => await dropStale({ db })),
    upkeep('holds', 10 * secondMs, async (signal) => await expireHolds({ db }, signal)),
    ...deliveries.flatMap(({ sender, loop }): Part[] => [
      upkeep(`deliveries ${sender.channel}`, secondMs, async () => await sweepDeliveries({ db, log }, sender)),
      {
        name: `delivery ${sender.channel} ${sender.account}`,
        run: async (signal) => {
          const stopListening = await presence.listen('outbox', (account) => {
            if (account === `${sender.channel}:${sender.account}`) loop.nudge();
          });
          try {
            await loop.run(signal);
          } finally {
            stopListening();
          }
        },
      },
    ]),
    { name: 'lanes', run: async (signal) => await runner.run(signal) },
  ];
  return { parts, sandboxes, [Symbol.asyncDispose]: async () => await stack.disposeAsync() };

  function upkeep(what: string, ms: number, work: (signal: AbortSignal) => Promise<unknown>): Part {
    return {
      name: `upkeep ${what}`,
      run: async (signal) => await every({ clock, log }, { ms, what }, async () => await work(signal), signal),
    };
  }
}

function openSandboxes({ config, log }: Services): DockerSandboxes {
  return new DockerSandboxes(
    { log },
    {
      ...(config.dockerHost === undefined ? {} : { dockerHost: config.dockerHost }),
      image: sandboxImage,
      instance: config.dataDir,
      socketDirectory: path.join(config.dataDir, 'sockets'),
      limits: {
        pauseAfterMs: config.limits.sandboxPauseSeconds * secondMs,
        removeAfterMs: config.limits.sandboxRemoveSeconds * secondMs,
      },
    },
  );
}

function createTurnDeps(services: Services, sandboxes: DockerSandboxes): TurnDeps {
  const { db, log, clock, config, agents } = services;
  const { limits } = config;
  const prices = createPriceBook({ store: createPriceStore({ db }), settings: config.prices, clock, log });
  const cooldowns = createCooldowns({ store: createCooldownStore({ db }), clock, log });
  const senders = new Map(services.channels.map((channel) => [`${channel.channel}:${channel.account}`, channel]));
  return {
    db,
    log,
    clock,
    findAgent: async (name, version) => await agents.requireVersion(name, version),
    tools: createTools({ db }),
    sandboxes,
    askModel: createAskModel({
      db,
      log,
      ledger: openLedger({ db }),
      call: { portFor: createModelPorts(config.providers), prices, cooldowns, clock, log, random: Math.random },
      defaultModel: config.defaultModel,
      timeouts: {
        headerMs: limits.modelHeaderSeconds * secondMs,
        idleMs: limits.modelIdleSeconds * secondMs,
        totalMs: limits.modelSeconds * secondMs,
      },
    }),
    gate: createGate({ db, clock, rolePolicies: compileRolePolicies() }),
    findSender: (channel, account) => senders.get(`${channel}:${account}`),
    limits: {
      messageRoundsMax: limits.messageRoundsMax,
      taskRoundsMax: limits.taskRoundsMax,
      messageMs: limits.messageSeconds * secondMs,
      taskMs: limits.taskSeconds * secondMs,
      contextEventsMax: limits.contextEventsMax,
      toolResultCharsMax: limits.toolResultCharsMax,
    },
  };
}
