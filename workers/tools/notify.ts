import { z } from 'zod';
import { broadcastLevels, broadcastPriorities, type TargetResult } from '#core/broadcast/broadcast.ts';
import { isEmptyReport } from '#core/broadcast/empty-report.ts';
import { type BroadcastRequest, sendBroadcast } from '#core/broadcast/send-broadcast.ts';
import { isAgentTarget, targetName } from '#core/broadcast/target.ts';
import type { Db } from '#core/kit/database.ts';
import { idFrom } from '#core/kit/ids.ts';
import { canonicalJson } from '#core/kit/json.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import type { Tool, ToolContext } from './tool.ts';

const parameters = z.strictObject({
  to: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .describe(
      'Who reads it: here, requester, @name, person:<id>, channel:room[:thread], owners, admins; agent:<name> or agents to have other agents work.',
    ),
  text: z.string().max(8000).describe('Markdown. Complete in itself: the reader sees nothing else of this work.'),
  level: z.enum(broadcastLevels).optional().describe('What it is; info when left out.'),
  priority: z
    .enum(broadcastPriorities)
    .optional()
    .describe('low makes no sound, urgent asks for attention at once; normal when left out.'),
});

type Arguments = z.infer<typeof parameters>;

export interface NotifyDeps {
  readonly db: Db;
  /** The agents that can be written to. */
  readonly listAgents: () => Promise<readonly { readonly name: string; readonly version: string }[]>;
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}

/** Writes to somebody, wherever they are, apart from the answer of the turn; to an agent, as a turn in the same thread. */
export function notifyTool(deps: NotifyDeps): Tool<Arguments> {
  return {
    name: 'notify',
    description:
      'Send a notice to a person, a room or a group of people, apart from your answer. Not for answering whoever asked: just answer. Returns where it went; delivery itself takes a moment. To agent:<name> it hands work on: that agent answers in this thread to the person you work for, and you do not see its answer.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ to, text }) => ({
      action: 'message.send',
      resource: targetName(to),
      risk: 'low',
      summary: `Tell ${to}: ${text.slice(0, 200)}`,
    }),
    run: async (args, context) => {
      if (isEmptyReport(args.text)) {
        return { text: 'Not sent: it says nothing. Send a notice only when there is news.', isError: false };
      }
      const owed: LaneWake[] = [];
      const request = toRequest(deps, args, context, (wakes) => owed.push(...wakes));
      const broadcast = await deps.db.transaction().execute(async (tx) => await sendBroadcast(tx, request));
      if (owed.length > 0) await deps.ring(owed);
      const failed = broadcast.results.filter((result) => result.state === 'failed');
      const sent = broadcast.results.length - failed.length;
      const lines = [`Sent to ${sent} of ${broadcast.results.length}.`, ...failed.map(describeFailure)];
      return { text: lines.join('\n'), isError: sent === 0 };
    },
  };
}

function toRequest(
  deps: NotifyDeps,
  args: Arguments,
  { origin, turnId, callKey, agent }: ToolContext,
  owe: (wakes: readonly LaneWake[]) => void,
): BroadcastRequest {
  return {
    // A notice is said once in a turn, whatever the model repeats; work is handed on once for each call, as it asks.
    id: idFrom(isAgentTarget(args.to) ? `hand-off:${turnId}:${callKey}` : `notice:${turnId}:${canonicalJson(args)}`),
    markdown: args.text,
    level: args.level ?? 'info',
    priority: args.priority ?? 'normal',
    author: agent.name,
    createdBy: origin.personId,
    turnId,
    report: undefined,
    targets: [args.to],
    context: { conversation: origin, requesterId: origin.personId },
    agentContext: { origin, sender: { agentName: agent.name, turnId }, listAgents: deps.listAgents, owe },
  };
}

function describeFailure(result: TargetResult): string {
  return `${result.target}: ${result.reason ?? 'failed'}`;
}
