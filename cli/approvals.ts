import type { Command } from 'commander';
import { answerApproval } from '#core/approvals/answer-approval.ts';
import type { ApprovalDecision } from '#core/approvals/approval.ts';
import { listApprovals } from '#core/approvals/list-approvals.ts';
import { describeOutcome } from '#core/approvals/settle-approval.ts';
import { AppError } from '#core/kit/errors.ts';
import { listGrants } from '#core/permissions/list-grants.ts';
import { revokeGrant } from '#core/permissions/revoke-grant.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

/** Commands about questions to people and the answers that were remembered. */
export function addApprovals(program: Command, deps: CliDeps): void {
  const approvals = program.command('approvals').description('what waits for a person, and the answers');
  approvals
    .command('list')
    .description('show what waits for an answer')
    .option('--all', 'show answered and expired ones too')
    .option('--json', 'print one JSON object')
    .action(async (options: { all?: true; json?: true }) => {
      await using database = await deps.openDatabase();
      const rows = await listApprovals(database.db, options.all === true ? {} : { state: 'pending' });
      if (options.json === true) return printJson(deps.terminal, { approvals: rows });
      if (rows.length === 0) return printLine(deps.terminal, 'Nothing waits for an answer.');
      printTable(
        deps.terminal,
        ['ID', 'STATE', 'AGENT', 'RISK', 'EXPIRES', 'WHAT'],
        rows.map((row) => [row.id, row.state, row.agentName, row.risk, formatTime(row.expiresAt), row.summary]),
      );
    });
  approvals
    .command('approve')
    .description('allow it once')
    .argument('<id>')
    .action(async (id: string) => {
      await answer(deps, id, 'approve', undefined);
    });
  approvals
    .command('deny')
    .description('refuse it')
    .argument('<id>')
    .option('--reason <text>', 'why; the agent is told')
    .action(async (id: string, options: { reason?: string }) => {
      await answer(deps, id, 'deny', options.reason);
    });

  const grants = program.command('grants').description('answers that were remembered ("allow always")');
  grants
    .command('list')
    .description('show the remembered answers in force')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const rules = await listGrants(database.db);
      if (options.json === true) return printJson(deps.terminal, { grants: rules });
      if (rules.length === 0) return printLine(deps.terminal, 'No answer is remembered.');
      printTable(
        deps.terminal,
        ['ID', 'FOR', 'ACTION', 'SINCE', 'EXACTLY'],
        rules.map((rule) => [
          rule.id,
          `${rule.subjectKind} ${rule.subject}`,
          rule.action,
          formatTime(rule.createdAt),
          rule.resource,
        ]),
      );
    });
  grants
    .command('revoke')
    .description('ask again from now on')
    .argument('<id>')
    .action(async (id: string) => {
      await using database = await deps.openDatabase();
      if (!isId(id)) {
        throw new AppError('grant.missing', `There is no remembered answer ${id.slice(0, 60)} in force.`, {
          mend: 'See ./switchyard grants list.',
        });
      }
      const rule = await revokeGrant(database.db, id, await operatorId(database.db));
      printLine(deps.terminal, `Revoked: ${rule.action} for ${rule.subjectKind} ${rule.subject}.`);
    });
}

/** @throws AppError for every outcome that changed nothing. */
async function answer(
  deps: CliDeps,
  approvalId: string,
  decision: ApprovalDecision,
  reason: string | undefined,
): Promise<void> {
  if (!isId(approvalId)) {
    throw new AppError('approval.unknown', `There is no approval ${approvalId.slice(0, 60)}.`, {
      mend: 'See ./switchyard approvals list --all.',
    });
  }
  await using database = await deps.openDatabase();
  const personId = await operatorId(database.db);
  // The wakes are left to the sweep, which finds the lane within a second: this process has no queue.
  const { outcome } = await database.db
    .transaction()
    .execute(async (tx) => await answerApproval(tx, { personId, reason, via: 'cli', approvalId, decision }));
  const text = describeOutcome(outcome);
  if (outcome.kind === 'settled') return printLine(deps.terminal, text);
  const codes = {
    already: 'approval.already_settled',
    expired: 'approval.expired',
    not_allowed: 'approval.not_allowed',
    other_chat: 'approval.not_allowed',
    unknown: 'approval.unknown',
  } as const;
  throw new AppError(codes[outcome.kind], text, { mend: 'See ./switchyard approvals list --all.' });
}

/** The database refuses what is no UUID with an error of its own. */
function isId(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
