import { appendAudit } from '../audit/append-audit.ts';
import type { AuditRecord } from '../audit/audit.ts';
import type { Tx } from '../kit/database.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import { writeToAgents } from '../turns/write-to-agents.ts';
import type { Broadcast } from './broadcast.ts';
import { insertBroadcast, insertTargets, type NewBroadcast, selectBroadcasts } from './broadcast-store.ts';
import type { AgentContext } from './find-agents.ts';
import { type AddressedAgent, type Place, resolveTargets, type TargetContext } from './resolve-target.ts';

/** Most places one broadcast goes to. */
const placesMax = 500;

export interface BroadcastRequest extends NewBroadcast {
  readonly targets: readonly string[];
  readonly context?: TargetContext;
  /** Without it agents cannot be written to. */
  readonly agentContext?: AgentContext;
}

/**
 * Says one thing in several places, or to agents. Each place has a message of its own in the outbox and each agent a turn
 * of its own, so one that fails never holds up another. Repeated under the same id it says nothing again.
 * @returns the broadcast with what is known of each target now; `readBroadcast` shows it later.
 */
export async function sendBroadcast(tx: Tx, request: BroadcastRequest): Promise<Broadcast> {
  if (await insertBroadcast(tx, request)) {
    const { places, agents, problems } = await resolveTargets(
      tx,
      request.targets,
      request.context,
      request.agentContext,
    );
    const reached = places.slice(0, placesMax);
    const passed = places.slice(placesMax).map((place) => ({
      target: place.target,
      reason: `A broadcast goes to at most ${placesMax} places.`,
    }));
    const keyed = reached.map((place, index) => ({ place, messageKey: `broadcast:${request.id}:${index}` }));
    const written = await writeTurns(tx, request, agents);
    await insertTargets(tx, request.id, [...keyed, ...written, ...problems, ...passed]);
    await putMessages(
      tx,
      keyed.map(({ place, messageKey }) => toMessage(request, place, messageKey)),
    );
    await appendAudit(tx, [sentRecord(request, keyed.length + written.length)]);
  }
  const [broadcast] = await selectBroadcasts(tx, { id: request.id, rowsMax: 1 });
  if (broadcast === undefined) throw new Error('the broadcast that was just written is gone');
  return broadcast;
}

/** Gives each agent its turn. @returns what to remember of each; its key is that of the turn. */
async function writeTurns(
  tx: Tx,
  request: BroadcastRequest,
  agents: readonly AddressedAgent[],
): Promise<readonly { readonly place: Place; readonly messageKey: string }[]> {
  const { agentContext, markdown, author } = request;
  if (agentContext === undefined || agents.length === 0) return [];
  const { origin, sender, owe } = agentContext;
  const recipients = agents.map((agent) => ({ ...agent, eventKey: `broadcast:${request.id}:agent:${agent.name}` }));
  owe(await writeToAgents(tx, { text: markdown, author, origin, turnId: sender?.turnId }, recipients));
  return recipients.map(({ target, eventKey }) => ({
    place: { target, conversation: origin, mention: undefined },
    messageKey: eventKey,
  }));
}

function toMessage(request: BroadcastRequest, place: Place, key: string): NewMessage {
  const { level, priority, markdown, turnId } = request;
  return {
    key,
    conversation: place.conversation,
    importance: 'notice',
    ...(turnId === undefined ? {} : { turnId }),
    body: {
      // Whoever reads it must know whose words these are.
      parts: [
        { type: 'notice', level, markdown },
        { type: 'markdown', markdown: `— ${request.author}` },
      ],
      priority,
      ...(priority === 'low' ? { isSilent: true } : {}),
      ...(place.mention === undefined ? {} : { mentions: [place.mention] }),
    },
  };
}

function sentRecord(request: BroadcastRequest, placesCount: number): AuditRecord {
  return {
    kind: 'broadcast.sent',
    chainKey: request.id,
    body: {
      broadcastId: request.id,
      personId: request.createdBy,
      turnId: request.turnId,
      level: request.level,
      priority: request.priority,
      targets: request.targets,
      placesCount,
    },
  };
}
