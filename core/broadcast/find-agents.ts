import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import type { LaneWake } from '../lanes/lane.ts';
import type { Origin } from '../sessions/origin.ts';
import { hopsMax, hopsOfTurn } from '../turns/write-to-agents.ts';
import type { Target } from './target.ts';

/** An agent as a turn names it. */
interface KnownAgent {
  readonly name: string;
  readonly version: string;
}

/** What it takes to write to agents. */
export interface AgentContext {
  /** The thread they answer in and the person they work for. */
  readonly origin: Origin;
  /** The agent that writes, with its turn; undefined when a person does. */
  readonly sender: { readonly agentName: string; readonly turnId: string } | undefined;
  readonly listAgents: () => Promise<readonly KnownAgent[]>;
  /** Takes the wakes that are to be rung after the commit. */
  readonly owe: (wakes: readonly LaneWake[]) => void;
}

/**
 * The agents a target means; never the one that writes.
 * @throws AppError `agent.unknown` with those there are, or `target.invalid` when the one who writes may not.
 */
export async function findAgents(
  db: Db | Tx,
  target: Extract<Target, { kind: 'agent' | 'agents' }>,
  context: AgentContext | undefined,
): Promise<readonly KnownAgent[]> {
  if (context === undefined) {
    throw new AppError('target.invalid', 'Agents answer in the thread they are written to from, and here is none.', {
      mend: 'Write /announce agents and the text in a chat.',
    });
  }
  const { sender } = context;
  const hops = sender === undefined ? 0 : await hopsOfTurn(db, sender.turnId);
  if (hops >= hopsMax) {
    throw new AppError(
      'target.invalid',
      `This went from agent to agent ${hops} times already, and no further. Answer with what you have.`,
    );
  }
  const agents = await context.listAgents();
  if (target.kind === 'agent') return [pick(agents, target.name, sender?.agentName)];
  if (hops > 0) {
    throw new AppError('target.invalid', 'Only an agent that a person wrote to may write to all agents.', {
      mend: 'Write to one of them, or answer.',
    });
  }
  const others = agents.filter((agent) => agent.name !== sender?.agentName);
  if (others.length === 0) throw new AppError('target.invalid', 'There is no other agent.');
  return others;
}

/** By its very name, as grants are: an alias would get by where the name is forbidden. */
function pick(agents: readonly KnownAgent[], name: string, senderName: string | undefined): KnownAgent {
  if (name === senderName) throw new AppError('target.invalid', 'An agent cannot write to itself.');
  const found = agents.find((agent) => agent.name === name);
  if (found !== undefined) return found;
  const names = agents.map((agent) => agent.name).join(', ');
  throw new AppError(
    'agent.unknown',
    `There is no agent "${name.slice(0, 40)}". ${names === '' ? 'There is none at all.' : `There are: ${names}.`}`,
  );
}
