import { cancelSessionWork } from '../approvals/cancel-session-work.ts';
import { formatDuration } from '../kit/duration.ts';
import { AppError } from '../kit/errors.ts';
import { resend } from '../outbox/resend.ts';
import { chooseAgent, chooseQueueMode } from '../sessions/change-thread.ts';
import { activeSessions, endThreadSessions } from '../sessions/end-session.ts';
import type { QueueMode } from '../sessions/session.ts';
import { findThreadWork } from '../turns/find-thread-work.ts';
import type { Command } from './command.ts';
import type { CommandDeps } from './command-deps.ts';
import { helpText } from './command-list.ts';
import { spoilPublicCode } from './people-commands.ts';

const queueModes: Readonly<Record<QueueMode, string>> = {
  steer: 'a message reaches me while I work and I take it into account',
  followup: 'a message waits until I am done',
  collect: 'messages are gathered for a moment and answered together',
  interrupt: 'a message stops what I do and I start on it',
};

/** The commands about the thread itself: its agent, its mode, its work. */
export function threadCommands(deps: CommandDeps): Record<string, Command> {
  const help: Command = async (_tx, known) => ({
    markdown: helpText(known.thread.agentName ?? deps.defaultAgent),
  });
  const startAfresh: Command = async (tx, known, _args, afterCommit) => {
    for (const session of await activeSessions(tx, known.thread.threadKey)) {
      const { wake } = await cancelSessionWork(tx, session.id);
      if (wake !== undefined) afterCommit(async () => await deps.ring([wake]));
    }
    await endThreadSessions(tx, known.thread.threadKey);
    return { markdown: 'A new conversation. What was said before stays in the record, but I start afresh.' };
  };
  return {
    help,
    start: async (tx, known, args, afterCommit) =>
      (await spoilPublicCode(tx, known, args)) ?? (await help(tx, known, args, afterCommit)),
    new: startAfresh,
    reset: startAfresh,
    stop: async (tx, known, _args, afterCommit) => {
      let asked = 0;
      let ended = 0;
      for (const session of await activeSessions(tx, known.thread.threadKey)) {
        const cancelled = await cancelSessionWork(tx, session.id);
        const { wake } = cancelled;
        asked += cancelled.isRunningAsked ? 1 : 0;
        ended += cancelled.ended.length;
        if (wake !== undefined) afterCommit(async () => await deps.ring([wake]));
      }
      if (ended > 0)
        return { markdown: `Stopped. ${ended === 1 ? 'One request' : `${ended} requests`} dropped.`, level: 'info' };
      // A running turn says itself that it has stopped, as soon as it has.
      return asked > 0 ? { acknowledged: 'Stopping.' } : { markdown: 'Nothing is running here.', level: 'info' };
    },
    status: async (tx, known) => {
      const work = await findThreadWork(tx, known.thread.threadKey);
      const agent = known.thread.agentName ?? deps.defaultAgent;
      const head = `Agent **${agent}**, model \`${await deps.modelOf(agent)}\`, queue mode \`${known.thread.queueMode}\`.`;
      if (work.length === 0) return { markdown: `${head}\n\nNothing is running or waiting here.` };
      const lines = work.map((item) => {
        const state = item.waitingFor === undefined ? item.state : `waiting for ${item.waitingFor}`;
        const text = item.text.replaceAll(/\s+/g, ' ').slice(0, 60);
        return `- ${state} for ${formatDuration(item.forMs)}: ${text} (${item.agentName})`;
      });
      return { markdown: `${head}\n\n${lines.join('\n')}` };
    },
    agents: async (_tx, known) => {
      const chosen = known.thread.agentName ?? deps.defaultAgent;
      const lines = (await deps.listAgents()).map(
        (agent) => `- ${agent.name === chosen ? `**${agent.name}** (this thread)` : agent.name}: ${agent.description}`,
      );
      return { markdown: [...lines, '', 'Choose with `/use name`, or ask one with `@name …`.'].join('\n') };
    },
    use: async (tx, known, args) => {
      const [name = '', forWhom = ''] = args.toLowerCase().split(/\s+/);
      const agent = await deps.findAgent(name.replace(/^@/, ''));
      if (agent === undefined) {
        const names = (await deps.listAgents()).map((item) => item.name).join(', ');
        throw new AppError(
          'agent.unknown',
          args === '' ? 'Which agent?' : `There is no agent "${args.slice(0, 40)}".`,
          {
            mend: `There are: ${names}.`,
          },
        );
      }
      const { threadKey, conversation } = known.thread;
      // In private there is nobody else to choose for.
      const isForAll = conversation.kind === 'dm' || forWhom === 'all';
      await chooseAgent(tx, threadKey, agent.name, isForAll ? undefined : known.person.id);
      return {
        markdown: isForAll
          ? `**${agent.name}** works in this thread from now on.`
          : `**${agent.name}** answers you in this thread from now on. \`/use ${agent.name} all\` chooses for everybody here.`,
      };
    },
    queue: async (tx, known, args) => {
      const wanted = args.toLowerCase();
      if (wanted === '') {
        const lines = Object.entries(queueModes).map(
          ([mode, text]) => `- \`${mode}\`${mode === known.thread.queueMode ? ' (now)' : ''}: ${text}`,
        );
        return { markdown: lines.join('\n') };
      }
      if (!isQueueMode(wanted)) {
        throw new AppError('command.invalid', `There is no queue mode "${wanted.slice(0, 40)}".`, {
          mend: `Use one of ${Object.keys(queueModes).join(', ')}.`,
        });
      }
      await chooseQueueMode(tx, known.thread.threadKey, wanted);
      return { markdown: `Queue mode \`${wanted}\`: ${queueModes[wanted]}.` };
    },
    resend: async (tx, known) => {
      const count = await resend(tx, known.thread.threadKey);
      return count === 0
        ? { markdown: 'Nothing is missing here.', level: 'info' }
        : { acknowledged: 'Sending it again.' };
    },
  };
}

function isQueueMode(text: string): text is QueueMode {
  return Object.hasOwn(queueModes, text);
}
