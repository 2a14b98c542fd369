import { answerApproval } from '../approvals/answer-approval.ts';
import type { Approval } from '../approvals/approval.ts';
import { lineOf } from '../approvals/approval-list.ts';
import { decideBatch } from '../approvals/decide-batch.ts';
import { listApprovals } from '../approvals/list-approvals.ts';
import { showList } from '../approvals/list-in-chat.ts';
import { describeOutcome, type SettleOutcome } from '../approvals/settle-approval.ts';
import { approvableFromList, visibleApprovals } from '../approvals/visible-approvals.ts';
import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { isAdministrator } from '../people/person.ts';
import { listGrants } from '../permissions/list-grants.ts';
import { revokeGrant } from '../permissions/revoke-grant.ts';
import { threadKey } from '../sessions/origin.ts';
import { type Command, type CommandReply, replyMessage } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

const reasonCharsMax = 500;

/** What waits for a decision, and what was allowed for good. */
export function approvalCommands(deps: CommandDeps): Record<string, Command> {
  return {
    approvals: async (tx, known) => {
      const { conversation, interactionToken } = known.event;
      const { shown, hiddenCount } = await visibleApprovals(tx, known.person, conversation);
      if (shown.length === 0) {
        const elsewhere = hiddenCount === 0 ? '' : ` ${hiddenCount} elsewhere; ask me in private.`;
        return { markdown: `Nothing waits for a decision here.${elsewhere}`, level: 'info' };
      }
      await showList(tx, {
        messageKey: `inbox:${known.inboxId}:reply`,
        personId: known.person.id,
        conversation,
        approvals: shown,
        interactionToken,
      });
      return undefined;
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

/** `/approve` and `/deny`: they bring their own transactions, one for each request. */
export function approvalDecisions(
  deps: CommandDeps,
): Record<'approve' | 'deny', (known: KnownEvent, args: string) => Promise<void>> {
  const by =
    (decision: 'approve' | 'deny') =>
    async (known: KnownEvent, args: string): Promise<void> => {
      const wanted = readWanted(args);
      const reason = wanted.reason === '' ? undefined : wanted.reason.slice(0, reasonCharsMax);
      const chosen = await choose(deps.db, known, wanted, decision);
      const [only, ...others] = chosen;
      const personId = known.person.id;
      if (only !== undefined && others.length === 0) {
        // One transaction with the end of the event: the second routing of a command does nothing.
        const answered = await deps.db.transaction().execute(async (tx) => {
          if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
          const result = await answerApproval(tx, { approvalId: only.id, decision, personId, reason, via: 'command' });
          await putMessages(tx, [replyMessage(known, replyOf(result.outcome))]);
          return result;
        });
        return await deps.ring(answered?.wakes ?? []);
      }
      const approvalIds = chosen.map(({ id }) => id);
      const outcomes = await decideBatch(deps, { approvalIds, decision, personId, reason, via: 'command' });
      const lines = chosen.map((approval) => {
        const outcome = outcomes.get(approval.id);
        return `- ${lineOf(approval)}: ${outcome === undefined ? 'not tried' : describeOutcome(outcome)}`;
      });
      const count = [...outcomes.values()].filter((outcome) => outcome.kind === 'settled').length;
      const word = decision === 'approve' ? 'Approved' : 'Denied';
      await deps.db.transaction().execute(async (tx) => {
        if (!(await endEvent(tx, known.inboxId, 'routed'))) return;
        const markdown = [`${word} ${count} of ${chosen.length}:`, '', ...lines].join('\n');
        await putMessages(tx, [replyMessage(known, { markdown })]);
      });
    };
  return { approve: by('approve'), deny: by('deny') };
}

interface Wanted {
  readonly isAll: boolean;
  readonly ids: readonly string[];
  readonly reason: string;
}

/** `all`, ids or the beginning of one, and then the reason. Later words are ids only when they cannot be words. */
function readWanted(args: string): Wanted {
  const words = args
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  const [first = ''] = words;
  if (first.toLowerCase() === 'all') return { isAll: true, ids: [], reason: words.slice(1).join(' ') };
  const end = words.findIndex((word, index) => index > 0 && !/^[0-9a-f]{8}-[0-9a-f-]{4,27}$/i.test(word));
  const ids = words.slice(0, end === -1 ? words.length : end);
  return { isAll: false, ids, reason: words.slice(ids.length).join(' ') };
}

/** The requests a person means: by id or its beginning, all they see here, or the only one of this thread. */
async function choose(
  db: Db,
  known: KnownEvent,
  wanted: Wanted,
  decision: 'approve' | 'deny',
): Promise<readonly Approval[]> {
  if (wanted.isAll) {
    const { shown } = await visibleApprovals(db, known.person, known.event.conversation);
    const chosen = decision === 'approve' ? approvableFromList(shown, known.person) : shown;
    if (chosen.length > 0) return chosen;
    throw new AppError('approval.unknown', 'Nothing waits here that you could decide in one go.', {
      mend: 'Send /approvals to see what there is.',
    });
  }
  if (wanted.ids.length === 0) {
    const pending = await listApprovals(db, { state: 'pending' });
    const { threadKey: key } = known.thread;
    return [only(pending.filter((approval) => threadKey(approval.conversation) === key))];
  }
  const all = await listApprovals(db);
  return wanted.ids.map((id) => only(all.filter((approval) => approval.id.startsWith(id.toLowerCase()))));
}

function only(matching: readonly Approval[]): Approval {
  const [first, ...others] = matching;
  if (first !== undefined && others.length === 0) return first;
  throw new AppError(
    'approval.unknown',
    first === undefined ? 'There is no such request.' : 'Several requests match.',
    {
      mend: 'Send /approvals to see their ids.',
    },
  );
}

function replyOf(outcome: SettleOutcome): Exclude<CommandReply, undefined | { acknowledged: string }> {
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
