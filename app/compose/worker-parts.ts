import { handleStuck } from '#core/approvals/handle-stuck.ts';
import { forgetLists } from '#core/approvals/list-in-chat.ts';
import { forgetBroadcasts, reportBroadcasts } from '#core/broadcast/report-broadcasts.ts';
import { expireHolds } from '#core/budgets/expire-holds.ts';
import { openLedger } from '#core/budgets/open-ledger.ts';
import { dropForLostRooms } from '#core/channels/drop-for-lost-rooms.ts';
import { forgetEgressUse } from '#core/egress/record-egress.ts';
import { pruneFiles } from '#core/files/prune-files.ts';
import { createCooldowns } from '#core/models/cooldown.ts';
import { createCooldownStore } from '#core/models/cooldown-store.ts';
import { createPriceBook } from '#core/models/price-book.ts';
import { createPriceStore } from '#core/models/price-store.ts';
import { dropStale } from '#core/outbox/drop-stale.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';
import { forgetPrompts } from '#core/questions/prompt-person.ts';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { forgetSuperseded } from '#core/vault/remove-secret.ts';
import { forgetCalls } from '#core/webhooks/inspect-calls.ts';
import { setEndpoints } from '#core/webhooks/set-endpoints.ts';
import { BrowserSessions } from '#workers/browser/browser-sessions.ts';
import { DeliveryLoop } from '#workers/delivery/delivery-loop.ts';
import { LiveStage } from '#workers/delivery/live-stage.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import type { Hook } from '#workers/hooks/hook.ts';
import type { TurnHooks } from '#workers/hooks/turn-hooks.ts';
import { LaneRunner } from '#workers/lane/lane-runner.ts';
import { WorkerPresence } from '#workers/lane/worker-presence.ts';
import type { McpServers } from '#workers/mcp/mcp-servers.ts';
import { createMcpTools } from '#workers/mcp/mcp-tools.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import { createOpenAiImages } from '#workers/models/openai-images.ts';
import { createPictureRefusals } from '#workers/models/picture-refusals.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { OpenGateway, PrepareSandboxFolder, SandboxPort } from '#workers/sandbox/sandbox.ts';
import { createAskModel } from '#workers/turn/ask-model.ts';
import { createGate } from '#workers/turn/gate.ts';
import { redactTurns } from '#workers/turn/redact-turns.ts';
import { runClaimedTurn } from '#workers/turn/run-claimed-turn.ts';
import { EndedTurns } from '#workers/turn/tell-ended.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';
import { callOutside } from '#workers/upkeep/call-outside.ts';
import { every } from '#workers/upkeep/every.ts';
import { sweepApprovals } from '#workers/upkeep/sweep-approvals.ts';
import { sweepDeliveries } from '#workers/upkeep/sweep-deliveries.ts';
import { sweepLanes } from '#workers/upkeep/sweep-lanes.ts';
import { AccountWatch } from './account-watch.ts';
import { deliveryDeps } from './delivery-deps.ts';
import { openHooks } from './open-hooks.ts';
import { openMcpServers } from './open-mcp.ts';
import { type Outside, openOutside } from './outside.ts';
import type { Part } from './run-parts.ts';
import { sandboxOptions } from './sandbox-options.ts';
import type { Services } from './services.ts';
import { createToolsOf } from './tools.ts';
import { openWorkerSkills, type WorkerSkills } from './worker-skills.ts';

const secondMs = 1000;
const hourMs = 3_600_000;

/** The worker: lanes and turns, deliveries, upkeep. Everything it owns is disposed with the returned stack. */
export async function openWorker(
  services: Services,
  userHooks: readonly Hook[],
): Promise<{ readonly parts: readonly Part[]; readonly sandboxes: SandboxPort } & AsyncDisposable> {
  const { db, log, clock, queue, config, databaseUrl } = services;
  const stack = new AsyncDisposableStack();
  await setEndpoints({ db }, config.webhooks);
  const presence = stack.use(await WorkerPresence.open({ databaseUrl, log }));
  const outside = stack.use(openOutside(services));
  const mcp = stack.use(openMcpServers(services, outside.journal));
  const skills = openWorkerSkills(services);
  const sandboxes = stack.use(openSandboxes(services, [skills.prepareFolder, mcp.prepareFolder], outside.openGateway));
  const browsers = stack.use(new BrowserSessions({ log }));
  const own = stack.use(openHooks(services, sandboxes, [...skills.hooks, ...userHooks]));
  const hooks = stack.use(createHooks({ log }, own.hooks));
  const watch = new AccountWatch({ db, clock, log });
  const turnDeps = redactTurns(
    createTurnDeps(services, sandboxes, watch, { outside, browsers, mcp, skills, hooks }),
    services.redactor,
  );
  const ended = stack.use(new EndedTurns(turnDeps));
  const runner = new LaneRunner(
    {
      db,
      log,
      wakes: queue.wakes,
      presence,
      runTurn: async (turn, context) => await runClaimedTurn(turnDeps, turn, context),
      onEnded: (turn, outcome) => ended.tell(turn, outcome),
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
    upkeep('stuck approvals', secondMs, async (signal) => await handleStuck({ db, log }, config.approvals, signal)),
    upkeep('broadcast reports', 2 * secondMs, async () => await reportBroadcasts({ db })),
    upkeep('calls to the outside', secondMs, async (signal) => {
      await callOutside({ db, log, clock, webhooks: config.webhooks, mail: config.mail }, signal);
    }),
    upkeep('old records', hourMs, async () => {
      await forgetCalls({ db });
      await forgetPrompts({ db });
      await forgetLists({ db });
      await forgetBroadcasts({ db });
      await forgetEgressUse({ db });
      await forgetSuperseded({ db });
    }),
    upkeep('stale messages', 10 * secondMs, async () => await dropStale({ db })),
    upkeep('files', 3600 * secondMs, async () => await pruneFiles({ db })),
    upkeep('holds', 10 * secondMs, async (signal) => await expireHolds({ db }, signal)),
    upkeep('closed rooms', 5 * secondMs, async () => await dropForLostRooms({ db })),
    { name: 'accounts', run: async (signal) => await watch.run(signal) },
    ...services.channels.flatMap((sender): Part[] => [
      upkeep(`deliveries ${sender.channel}`, secondMs, async () => await sweepDeliveries({ db, log }, sender)),
      {
        name: `delivery ${sender.channel} ${sender.account}`,
        // While the account is switched off its messages wait in the outbox.
        run: async (signal) =>
          await watch.whileEnabled(sender, signal, async (enabled) => {
            const loop = new DeliveryLoop(deliveryDeps(services, sender, presence.id));
            const stopListening = await presence.listen('outbox', (account) => {
              if (account === `${sender.channel}:${sender.account}`) loop.nudge();
            });
            try {
              await loop.run(enabled);
            } finally {
              stopListening();
            }
          }),
      },
    ]),
    { name: 'ready sandboxes', run: async (signal) => await sandboxes.keepReady(signal) },
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

function openSandboxes(
  { config, db, log }: Services,
  prepareFolders: readonly PrepareSandboxFolder[],
  openGateway: OpenGateway,
): DockerSandboxes {
  return new DockerSandboxes(
    { log, places: openPlaces({ db }) },
    { ...sandboxOptions(config), prepareFolders, openGateway },
  );
}

function createTurnDeps(
  services: Services,
  sandboxes: DockerSandboxes,
  watch: AccountWatch,
  {
    outside,
    browsers,
    mcp,
    skills,
    hooks,
  }: {
    readonly outside: Outside;
    readonly browsers: BrowserSessions;
    readonly mcp: McpServers;
    readonly skills: WorkerSkills;
    readonly hooks: TurnHooks;
  },
): TurnDeps {
  const { db, log, clock, config, agents, queue } = services;
  const { limits } = config;
  const ledger = openLedger({ db });
  const prices = createPriceBook({ store: createPriceStore({ db }), settings: config.prices, clock, log });
  const cooldowns = createCooldowns({ store: createCooldownStore({ db }), clock, log });
  const senders = new Map(services.channels.map((channel) => [`${channel.channel}:${channel.account}`, channel]));
  const senderOf = (channel: string, account: string) => senders.get(`${channel}:${account}`);
  // Previews and reactions go past the outbox: an account that is switched off has no sender.
  const findSender = (channel: string, account: string) =>
    watch.isEnabled({ channel, account }) ? senderOf(channel, account) : undefined;
  const mcpTools = createMcpTools({
    db,
    log,
    servers: mcp,
    openSandbox: async (agent, { sessionId }, signal) => {
      const spec = { sessionId, agent: agent.name, limits: agent.sandbox, egress: agent.egress, kind: 'core' as const };
      return await sandboxes.open(spec, signal);
    },
  });
  return {
    db,
    log,
    clock,
    findAgent: async (name, version) => await agents.requireVersion(name, version),
    toolsOf: createToolsOf(
      {
        db,
        findSender: senderOf,
        listAgents: async () => await agents.list(),
        ring: async (wakes) => await queue.wakes.ring(wakes),
        outside: outside.client,
        searchWeb: outside.searchWeb,
        browsers,
        ledger,
        imageModel:
          config.imageModel === undefined
            ? undefined
            : { ...config.imageModel, port: createOpenAiImages(config.imageModel.ref, config.providers) },
        prices,
      },
      [skills.toolsOf, mcpTools],
    ),
    hooks,
    sandboxes,
    askModel: createAskModel({
      db,
      log,
      hooks,
      ledger,
      call: {
        portFor: createModelPorts(config.providers),
        prices,
        cooldowns,
        pictureRefusals: createPictureRefusals({ clock }),
        clock,
        log,
        random: Math.random,
      },
      defaultModel: config.defaultModel,
      timeouts: {
        headerMs: limits.modelHeaderSeconds * secondMs,
        idleMs: limits.modelIdleSeconds * secondMs,
        totalMs: limits.modelSeconds * secondMs,
      },
    }),
    gate: createGate({ db, clock, rolePolicies: compileRolePolicies(), notify: config.approvals.notify, hooks }),
    findSender,
    liveStage: new LiveStage({ db, log }),
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
