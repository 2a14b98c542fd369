import type { Channel } from '#bots/channel.ts';
import { EventReceiver } from '#bots/receive-events.ts';
import { announceCommands } from '#core/commands/announce-commands.ts';
import { approvalCommands, approvalDecisions } from '#core/commands/approval-commands.ts';
import { approvalPress, strayPress } from '#core/commands/approval-presses.ts';
import { createRunCommand, type RunCommand } from '#core/commands/command.ts';
import type { CommandDeps } from '#core/commands/command-deps.ts';
import { continueCommand } from '#core/commands/continue-command.ts';
import { costCommands } from '#core/commands/cost-commands.ts';
import { offerPress } from '#core/commands/offer-press.ts';
import { peopleCommands } from '#core/commands/people-commands.ts';
import { createPress } from '#core/commands/press.ts';
import { questionPress } from '#core/commands/question-presses.ts';
import { secretCommands } from '#core/commands/secret-commands.ts';
import { type SkillDesk, skillChanges, skillCommands } from '#core/commands/skill-commands.ts';
import { createTakeSecret } from '#core/commands/take-secret.ts';
import { createTakeAnswer, createTakeForm } from '#core/commands/take-words.ts';
import { threadCommands } from '#core/commands/thread-commands.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { forgetEvent } from '#core/inbox/forget-event.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { createLoopFuse } from '#core/inbox/loop-fuse.ts';
import { createRoomEvents } from '#core/inbox/room-events.ts';
import { type RouteDeps, routeInbound } from '#core/inbox/route-inbound.ts';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { parseModelRef } from '#core/models/model-ref.ts';
import { type ChannelAccess, closedAccess } from '#core/people/access.ts';
import { createAcceptMessage } from '#core/turns/accept-message.ts';
import { LiveStage } from '#workers/delivery/live-stage.ts';
import { openKek } from '../open-vault.ts';
import { keptSkills, openSkills } from './open-skills.ts';
import { ownAddresses } from './outside.ts';
import { createRunTask } from './run-task.ts';
import { withSeenSign } from './seen-sign.ts';
import type { Services } from './services.ts';
import { createShowHome, withHomeRefresh } from './show-home.ts';

type ReceiverServices = Pick<Services, 'db' | 'log' | 'config'> & {
  readonly agents: Pick<Services['agents'], 'find' | 'list'>;
  readonly queue: { readonly wakes: Pick<Services['queue']['wakes'], 'ring'> };
};

/** One channel's way in: store, confirm, route; of an event that held a secret nothing is kept. */
export function openReceiver(services: ReceiverServices & Pick<Services, 'redactor'>, channel: Channel): EventReceiver {
  const { db, log, redactor } = services;
  const route = openRoute(services, channel);
  const routeAndForget = async (inboxId: string, event: InboundEvent): Promise<void> => {
    await route(inboxId, event);
    // Only afterwards: a value that was asked for comes this way, and routing may have to be tried again.
    if (redactor.json(event) !== event) await forgetEvent(db, inboxId);
  };
  return new EventReceiver({ db, log, route: routeAndForget }, channel);
}

/** Takes a stored event of a channel to whatever it leads to: people, commands, buttons, rooms and turns. */
export function openRoute(
  services: ReceiverServices,
  channel: Channel,
): (inboxId: string, event: InboundEvent) => Promise<void> {
  const { db, log, queue, agents, config } = services;
  const acceptTurn = withSeenSign(turnAcceptor({ db, wakes: queue.wakes }), channel, new LiveStage({ db, log }));
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
    acknowledge: async ({ interactionToken }, text, isAlert) => {
      if (interactionToken === undefined) return;
      await channel.acknowledge(interactionToken, { text, isAlert }).catch(() => undefined);
    },
    openForm: async ({ interactionToken }, form) => {
      if (interactionToken === undefined) return false;
      return (await channel.openForm?.(interactionToken, form).catch(() => false)) ?? false;
    },
    kek: openKek(config),
    deleteMessage: async ({ conversation, messageId }) => {
      if (messageId === undefined) return false;
      return (await channel.deleteMessage?.(conversation, messageId).catch(() => false)) ?? false;
    },
    ring: async (wakes) => await queue.wakes.ring(wakes),
  };
  const skillDeps = { db, defaultAgent: config.defaultAgent, skills: openSkillDesk(config, agents) };
  // A late command that is confirmed runs like any other.
  const lateCommand: RunCommand = async (known, name, args) => await runCommand(known, name, args);
  const runCommand: RunCommand = createRunCommand(
    { db, acknowledge: deps.acknowledge },
    {
      ...threadCommands(deps),
      ...peopleCommands(deps),
      ...continueCommand(),
      ...approvalCommands(deps),
      ...announceCommands(deps, config.announceTo),
      ...costCommands(deps),
      ...secretCommands(deps),
      ...skillCommands(skillDeps),
    },
    {
      ...approvalDecisions(deps),
      ...skillChanges(skillDeps),
      press: withHomeRefresh(
        { db, log, channel },
        createPress([
          approvalPress(deps),
          questionPress(deps),
          offerPress({ ...deps, ...skillDeps, runCommand: lateCommand }),
          strayPress(deps),
        ]),
      ),
      run: createRunTask({ db, log, channel, acceptMessage, acknowledge: deps.acknowledge }),
    },
  );
  const routeDeps: RouteDeps = {
    db,
    log,
    acceptMessage,
    runCommand,
    acknowledge: deps.acknowledge,
    operatorChannels: new Set(['console', 'web', 'file']),
    access: accessOf(config, channel.channel),
    accessOn: (name) => accessOf(config, name),
    fuse: createLoopFuse(),
    onRoomEvent: createRoomEvents({ db, log, ring: deps.ring }),
    onPersonEvent: { form: createTakeForm(deps), home: createShowHome({ db, log, channel }) },
    takeAnswer: createTakeAnswer(deps),
    takeSecret: createTakeSecret(deps),
  };
  return async (inboxId, event) => await routeInbound(routeDeps, inboxId, event);
}

/** Skills as chats reach them: the project's folder and the public internet, our own machine and files left out. */
function openSkillDesk(config: Services['config'], agents: ReceiverServices['agents']): SkillDesk {
  return {
    library: openSkills(config),
    keepFolder: keptSkills(config),
    sources: {
      projectDir: config.projectDir,
      closedFolders: [config.dataDir],
      guard: createAddressGuard({ open: config.egress.open, closed: [...ownAddresses(), ...config.egress.closed] }),
    },
    findAgent: async (name) => await agents.find(name),
  };
}

/** Channels of our own have no allow list: who may use them is decided before an event is stored, or by pairing. */
function accessOf({ access }: Services['config'], channel: string): ChannelAccess {
  switch (channel) {
    case 'telegram':
    case 'slack':
    case 'discord':
      return access[channel];
    default:
      return closedAccess;
  }
}
