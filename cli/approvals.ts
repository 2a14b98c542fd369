import type { Command } from 'commander';
import { decideBatch } from '#core/approvals/decide-batch.ts';
import { listApprovals } from '#core/approvals/list-approvals.ts';
import { describeOutcome, type SettleOutcome } from '#core/approvals/settle-approval.ts';
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
    .description('allow one or several once, or with --all everything that waits')
    .argument('[ids...]')
    .option('--all', 'everything that waits')
    .option('--reason <text>', 'why; shown with the answer')
    .action(async (ids: string[], options: AnswerOptions) => {
      await answer(deps, ids, 'approve', options);
    });
  approvals
    .command('deny')
    .description('refuse one or several, or with --all everything that waits')
    .argument('[ids...]')
    .option('--all', 'everything that waits')
    .option('--reason <text>', 'why; the agent is told')
    .action(async (ids: string[], options: AnswerOptions) => {
      await answer(deps, ids, 'deny', options);
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

interface AnswerOptions {
  readonly all?: true;
  readonly reason?: string;
}

/**
 * Gives one answer to each, one by one.
 * @throws AppError for the first that changed nothing, after all of them were tried.
 */
async function answer(
  deps: CliDeps,
  ids: readonly string[],
  decision: 'approve' | 'deny',
  options: AnswerOptions,
): Promise<void> {
  if (ids.length > 0 === (options.all === true)) {
    throw new AppError('command.invalid', 'Give the ids of requests, or --all.', {
      mend: 'See ./switchyard approvals list.',
    });
  }
  const strange = ids.find((id) => !isId(id));
  if (strange !== undefined) {
    throw new AppError('approval.unknown', `There is no approval ${strange.slice(0, 60)}.`, {
      mend: 'See ./switchyard approvals list --all.',
    });
  }
  await using database = await deps.openDatabase();
  const { db } = database;
  const personId = await operatorId(db);
  const approvalIds = options.all === true ? (await listApprovals(db, { state: 'pending' })).map(({ id }) => id) : ids;
  if (approvalIds.length === 0) return printLine(deps.terminal, 'Nothing waits for an answer.');
  // The wakes are left to the sweep, which finds the lanes within a second: this process has no queue.
  const outcomes = await decideBatch(
    { db, ring: async () => undefined },
    { approvalIds, decision, personId, reason: options.reason, via: 'cli' },
  );
  let failure: AppError | undefined;
  for (const [id, outcome] of outcomes) {
    const text = describeOutcome(outcome);
    if (outcome.kind === 'settled') printLine(deps.terminal, outcomes.size === 1 ? text : `${id}: ${text}`);
    else failure ??= failureOf(outcome, outcomes.size === 1 ? text : `${id}: ${text}`);
  }
  if (failure !== undefined) throw failure;
}

function failureOf(outcome: Exclude<SettleOutcome, { kind: 'settled' }>, text: string): AppError {
  const codes = {
    already: 'approval.already_settled',
    expired: 'approval.expired',
    not_allowed: 'approval.not_allowed',
    other_chat: 'approval.not_allowed',
    unknown: 'approval.unknown',
  } as const;
  return new AppError(codes[outcome.kind], text, { mend: 'See ./switchyard approvals list --all.' });
}

/** The database refuses what is no UUID with an error of its own. */
function isId(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
