import { utcTime } from '../kit/utc-time.ts';
import type { Button, OutboundPart } from '../outbox/outbound.ts';
import type { NewMessage } from '../outbox/put-messages.ts';
import { type Approval, type ApprovalPress, describeApprovers } from './approval.ts';
import type { PressTokens } from './approval-token.ts';
import type { ApprovalCard } from './card-store.ts';

const detailCharsMax = 1500;

const buttonOf: Readonly<Record<ApprovalPress, Pick<Button, 'label' | 'style'>>> = {
  approve: { label: 'Approve', style: 'success' },
  deny: { label: 'Deny', style: 'danger' },
  deny_reason: { label: 'Deny with reason' },
  always_session: { label: 'Always in this session' },
  always_agent: { label: 'Always for this agent' },
};

/** The question as people see it: what exactly would be done, what it risks, who may answer and until when. */
export function approvalCard(approval: Approval, card: ApprovalCard, tokens: PressTokens): NewMessage {
  const rows: Button[][] = [];
  const add = (...presses: readonly ApprovalPress[]): void => {
    const row = presses.flatMap((press): Button[] => {
      const token = tokens[press];
      return token === undefined ? [] : [{ ...buttonOf[press], token }];
    });
    if (row.length > 0) rows.push(row);
  };
  add('approve', 'deny', 'deny_reason');
  add('always_session', 'always_agent');
  const fields: [string, string][] = [
    ['Risk', approval.risk],
    ['Decides', describeApprovers(approval.approvers)],
    ['Expires', utcTime(approval.expiresAt, approval.createdAt)],
  ];
  if (approval.remindedAt !== undefined) fields.push(['Reminded', utcTime(approval.remindedAt, approval.createdAt)]);
  if (approval.escalatedAt !== undefined) fields.push(['Escalated', utcTime(approval.escalatedAt, approval.createdAt)]);
  fields.push(['Id', approval.id]);
  const shown = message(approval, card, [
    headOf(approval, card),
    ...describe(approval),
    { type: 'fields', fields },
    { type: 'buttons', rows },
  ]);
  if (card.kind !== 'reminder' && card.kind !== 'escalation') return shown;
  return { ...shown, body: { ...shown.body, priority: 'high' } };
}

/** The same card once it is decided: who, when and why, and nothing left to press. */
export function settledCard(approval: Approval, card: ApprovalCard): NewMessage {
  const who = approval.decidedByName === undefined ? '' : ` by ${approval.decidedByName}`;
  const why = approval.reason === undefined || approval.reason === '' ? '' : `: ${approval.reason}`;
  const level = approval.state === 'approved' ? 'success' : approval.state === 'denied' ? 'error' : 'warn';
  const word = approval.state.charAt(0).toUpperCase() + approval.state.slice(1);
  const where: OutboundPart[] =
    card.kind === 'origin' ? [] : [{ type: 'markdown', markdown: `${approval.agentName}, in ${placeOf(approval)}` }];
  return message(approval, card, [
    ...where,
    ...describe(approval),
    {
      type: 'notice',
      level,
      markdown: `**${word}**${who} at ${utcTime(approval.decidedAt ?? approval.expiresAt, approval.createdAt)}${why}`,
    },
  ]);
}

/** Where the work goes on, for somebody who reads of it elsewhere. */
export function placeOf(approval: Pick<Approval, 'conversation'>): string {
  const { channel, kind } = approval.conversation;
  return `a ${channel} ${kind === 'dm' ? 'private chat' : kind}`;
}

/** The exact action as one part. */
function describe(approval: Approval): OutboundPart[] {
  const { action } = approval;
  if (action.permission === 'tool.exec') {
    const place = action.workingDirectory === undefined ? '' : `# in ${action.workingDirectory}\n`;
    // What the command is given to read is part of what is approved.
    return [{ type: 'code', language: 'sh', text: `${place}${shorten(approval.summary)}` }];
  }
  if (action.permission === 'tool.python') {
    return [{ type: 'code', language: 'python', text: shorten(approval.summary) }];
  }
  return [{ type: 'code', text: shorten(`${action.tool}: ${approval.summary}`) }];
}

function headOf(approval: Approval, card: ApprovalCard): OutboundPart {
  const name = approval.agentName;
  switch (card.kind) {
    case 'origin':
      return { type: 'markdown', markdown: `**${name}** asks: may I do this?` };
    case 'copy':
      return { type: 'markdown', markdown: `**${name}** asks from ${placeOf(approval)}: may I do this?` };
    case 'reminder':
      return {
        type: 'notice',
        level: 'question',
        markdown: `Still waiting since ${utcTime(approval.createdAt)}: **${name}** asks from ${placeOf(approval)}: may I do this?`,
      };
    case 'escalation':
      return {
        type: 'notice',
        level: 'warn',
        markdown: `Nobody has decided since ${utcTime(approval.createdAt)}: **${name}** asks from ${placeOf(approval)}: may I do this?`,
      };
  }
}

/**
 * Nobody may be made to approve what they cannot see: what is left out is said, and the end is always shown, because
 * that is where something could be hidden behind a long beginning.
 */
function shorten(text: string): string {
  if (text.length <= detailCharsMax) return text;
  const half = detailCharsMax / 2;
  return `${text.slice(0, half)}\n… ${text.length - detailCharsMax} characters not shown here …\n${text.slice(-half)}`;
}

function message(approval: Approval, card: ApprovalCard, parts: readonly OutboundPart[]): NewMessage {
  return {
    key: card.messageKey,
    conversation: card.conversation,
    importance: 'approval',
    sessionId: approval.sessionId,
    turnId: approval.turnId,
    body: { parts: [...parts] },
  };
}
