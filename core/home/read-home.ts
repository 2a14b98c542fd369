import { type ApprovalPress, refusalOf } from '../approvals/approval.ts';
import { isShownWhole, lineOf } from '../approvals/approval-list.ts';
import { mintTokens } from '../approvals/approval-token.ts';
import { visibleApprovals } from '../approvals/visible-approvals.ts';
import { costReport } from '../budgets/cost-report.ts';
import type { Db } from '../kit/database.ts';
import { formatDuration } from '../kit/duration.ts';
import { formatUsd } from '../kit/money.ts';
import type { Button, OutboundBody, OutboundPart } from '../outbox/outbound.ts';
import { isAdministrator, type Person } from '../people/person.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type OpenWork, selectOpenWork } from './home-store.ts';

/** Most requests and turns on the page; a platform shows about a hundred blocks. */
const approvalsMax = 8;
const workMax = 15;
const budgetsMax = 12;

/**
 * A person's home page as it is now: what waits for their decision, with buttons that work on this page only, what runs
 * and waits, and the budgets for those who may see costs.
 *
 * @param place the conversation the buttons of the page belong to.
 */
export async function readHome(db: Db, person: Person, place: Conversation): Promise<OutboundBody> {
  const isAdmin = isAdministrator(person.role);
  const [needs, work, budgets] = await Promise.all([
    needsYou(db, person, place),
    selectOpenWork(db, { rowsMax: workMax + 1, ...(isAdmin ? {} : { personId: person.id }) }),
    isAdmin ? budgetParts(db) : [],
  ]);
  return { parts: [...needs, ...workParts(work, isAdmin), ...budgets] };
}

async function needsYou(db: Db, person: Person, place: Conversation): Promise<OutboundPart[]> {
  const { shown } = await visibleApprovals(db, person, place);
  if (shown.length === 0) return [heading('Needs you'), text('Nothing waits for your decision.')];
  const parts: OutboundPart[] = [heading('Needs you')];
  await db.transaction().execute(async (tx) => {
    for (const approval of shown.slice(0, approvalsMax)) {
      const decider = { personId: person.id, role: person.role };
      const presses = (['approve', 'deny'] as const).filter(
        // Nobody approves what they cannot see.
        (press) => refusalOf(approval, decider, press) === undefined && (press === 'deny' || isShownWhole(approval)),
      );
      parts.push(text(lineOf(approval)));
      if (presses.length === 0) continue;
      const tokens = await mintTokens(tx, approval, place, presses);
      parts.push({ type: 'buttons', rows: [presses.flatMap((press) => buttonOf(press, tokens[press]))] });
    }
  });
  const more = shown.length - approvalsMax;
  if (more > 0) parts.push(text(`… and ${more} more: send /approvals.`));
  return parts;
}

function buttonOf(press: Extract<ApprovalPress, 'approve' | 'deny'>, token: string | undefined): Button[] {
  if (token === undefined) return [];
  return press === 'approve'
    ? [{ label: 'Approve', style: 'success', token }]
    : [{ label: 'Deny', style: 'danger', token }];
}

function workParts(work: readonly OpenWork[], isAdmin: boolean): OutboundPart[] {
  const title = heading(isAdmin ? 'Running and waiting' : 'Your work');
  if (work.length === 0) return [title, text('Nothing is running or waiting.')];
  const lines = work.slice(0, workMax).map((item) => {
    const state = item.waitingFor === undefined ? item.state : `waiting for ${item.waitingFor}`;
    const what = item.text.replaceAll(/\s+/g, ' ').replaceAll('`', "'").slice(0, 80);
    return `- **${item.agentName}** ${state} for ${formatDuration(item.forMs)} (${item.channel}): \`${what}\``;
  });
  if (work.length > workMax) lines.push('- …');
  return [title, text(lines.join('\n'))];
}

async function budgetParts(db: Db): Promise<OutboundPart[]> {
  const { totalMicros, budgets } = await costReport(db, { period: 'today', by: 'agent' });
  const lines = budgets.slice(0, budgetsMax).map((budget) => {
    const used = `${formatUsd(budget.spentMicros)} of ${formatUsd(budget.limitMicros)}`;
    return `- ${budget.scope}, per ${budget.period}: ${used}`;
  });
  return [heading('Budgets'), text([`Today: **${formatUsd(totalMicros)}**`, ...lines].join('\n'))];
}

function heading(title: string): OutboundPart {
  return { type: 'markdown', markdown: `## ${title}` };
}

function text(markdown: string): OutboundPart {
  return { type: 'markdown', markdown };
}
