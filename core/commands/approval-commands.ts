import { answerApproval } from '../approvals/answer-approval.ts';
import type { Approval } from '../approvals/approval.ts';
import { listApprovals } from '../approvals/list-approvals.ts';
import { type ApprovalAnswer, describeOutcome, type SettleOutcome } from '../approvals/settle-approval.ts';
import type { Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { isAdministrator } from '../people/person.ts';
import { listGrants } from '../permissions/list-grants.ts';
import { revokeGrant } from '../permissions/revoke-grant.ts';
import { threadKey } from '../sessions/origin.ts';
import type { Command, CommandReply } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

/** Approvals and what was allowed for good. */
export function approvalCommands(deps: CommandDeps): Record<string, Command> {
  const answer = async (tx: Tx, given: ApprovalAnswer, afterCommit: Parameters<Command>[3]): Promise<SettleOutcome> => {
    const { outcome, wakes } = await answerApproval(tx, given);
    afterCommit(async () => await deps.ring(wakes));
    return outcome;
  };

  const byId =
    (decision: 'approve' | 'deny'): Command =>
    async (tx, known, args, afterCommit) => {
      const [id = '', ...words] = args.split(/\s+/);
      const approval = await pick(tx, id, known.thread.threadKey);
      const reason = words.join(' ').slice(0, 500);
      const outcome = await answer(
        tx,
        {
          personId: known.person.id,
          approvalId: approval.id,
          decision,
          via: 'command',
          ...(reason === '' ? {} : { reason }),
        },
        afterCommit,
      );
      return replyOf(outcome);
    };

  return {
    // A pressed button. The platform shows the outcome at the button itself; a refusal is worth a line of its own.
    press: async (tx, known, token, afterCommit) => {
      const outcome = await answer(
        tx,
        { personId: known.person.id, token, threadKey: known.thread.threadKey, via: 'button' },
        afterCommit,
      );
      const { event } = known;
      if (event.type === 'action') {
        afterCommit(async () => await deps.acknowledge(event, describeOutcome(outcome), outcome.kind !== 'settled'));
      }
      return undefined;
    },
    approve: byId('approve'),
    deny: byId('deny'),
    approvals: async (tx, known) => {
      const pending = await listApprovals(tx, { state: 'pending' });
      const visible = isAdministrator(known.person.role)
        ? pending
        : pending.filter((approval) => approval.requesterId === known.person.id);
      if (visible.length === 0) return { markdown: 'Nothing waits for a decision.', level: 'info' };
      const lines = visible.map((approval) => {
        const until = approval.expiresAt.toISOString().slice(11, 16);
        return `- \`${approval.id}\` ${approval.agentName}: ${oneLine(approval.summary)} (risk ${approval.risk}, until ${until} UTC)`;
      });
      return { markdown: [...lines, '', 'Decide with `/approve id` or `/deny id reason`.'].join('\n') };
    },
    grants: async (_tx, known) => {
      requireAdministrator(known.person.role);
      const rules = await listGrants(deps.db);
      if (rules.length === 0) return { markdown: 'Nothing was allowed for good.', level: 'info' };
      const lines = rules.map(
        (rule) => `- \`${rule.id}\` ${rule.subjectKind} ${rule.subject}: ${rule.action} \`${oneLine(rule.resource)}\``,
      );
      return { markdown: [...lines, '', 'Take one back with `/revoke id`.'].join('\n') };
    },
    revoke: async (_tx, known, args) => {
      requireAdministrator(known.person.role);
      const rule = await revokeGrant(deps.db, args, known.person.id);
      return { markdown: `Taken back: ${rule.action} \`${oneLine(rule.resource)}\`. I will ask again.` };
    },
  };
}

/** The approval a person means: its id, the beginning of it, or nothing when only one waits in this thread. */
async function pick(tx: Tx, id: string, key: string): Promise<Approval> {
  const pending = await listApprovals(tx, { state: 'pending' });
  const matching =
    id === ''
      ? pending.filter((approval) => threadKey(approval.conversation) === key)
      : (await listApprovals(tx)).filter((approval) => approval.id.startsWith(id.toLowerCase()));
  const [only, ...others] = matching;
  if (only !== undefined && others.length === 0) return only;
  throw new AppError('approval.unknown', only === undefined ? 'There is no such request.' : 'Several requests match.', {
    mend: 'Send /approvals to see their ids.',
  });
}

function replyOf(outcome: SettleOutcome): CommandReply {
  return { markdown: describeOutcome(outcome), level: outcome.kind === 'settled' ? 'info' : 'warn' };
}

function requireAdministrator(role: Parameters<typeof isAdministrator>[0]): void {
  if (isAdministrator(role)) return;
  throw new AppError('grant.missing', 'Only an owner or admin can see and change what was allowed for good.', {
    mend: 'Ask one of them.',
  });
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('`', "'").slice(0, 120);
}
