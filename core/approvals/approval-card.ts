import type { Button, OutboundPart } from '../outbox/outbound.ts';
import type { NewMessage } from '../outbox/put-messages.ts';
import { type Approval, type ApprovalDecision, approvalCardKey, describeApprovers } from './approval.ts';

const detailCharsMax = 1500;

const buttonOf: Readonly<Record<ApprovalDecision, Pick<Button, 'label' | 'style'>>> = {
  approve: { label: 'Approve', style: 'success' },
  deny: { label: 'Deny', style: 'danger' },
  always_session: { label: 'Always in this session' },
  always_agent: { label: 'Always for this agent' },
};

/** The question as people see it: what exactly would be done, what it risks, who may answer and until when. */
export function approvalCard(
  approval: Approval,
  tokens: Readonly<Partial<Record<ApprovalDecision, string>>>,
): NewMessage {
  const rows: Button[][] = [];
  const add = (...decisions: readonly ApprovalDecision[]): void => {
    const row = decisions.flatMap((decision): Button[] => {
      const token = tokens[decision];
      return token === undefined ? [] : [{ ...buttonOf[decision], token }];
    });
    if (row.length > 0) rows.push(row);
  };
  add('approve', 'deny');
  add('always_session', 'always_agent');
  return card(approval, [
    { type: 'markdown', markdown: `**${approval.agentName}** asks: may I do this?` },
    ...describe(approval),
    {
      type: 'fields',
      fields: [
        ['Risk', approval.risk],
        ['Decides', describeApprovers(approval.approvers)],
        ['Expires', `${approval.expiresAt.toISOString().slice(11, 16)} UTC`],
        ['Id', approval.id],
      ],
    },
    { type: 'buttons', rows },
  ]);
}

/** The same card once it is decided: who, when and why, and nothing left to press. */
export function settledCard(approval: Approval): NewMessage {
  const when = (approval.decidedAt ?? approval.expiresAt).toISOString().slice(11, 16);
  const who = approval.decidedByName === undefined ? '' : ` by ${approval.decidedByName}`;
  const why = approval.reason === undefined || approval.reason === '' ? '' : `: ${approval.reason}`;
  const level = approval.state === 'approved' ? 'success' : approval.state === 'denied' ? 'error' : 'warn';
  const word = approval.state.charAt(0).toUpperCase() + approval.state.slice(1);
  return card(approval, [
    ...describe(approval),
    { type: 'notice', level, markdown: `**${word}**${who} at ${when} UTC${why}` },
  ]);
}

function describe(approval: Approval): OutboundPart[] {
  const { action } = approval;
  if (action.permission === 'tool.exec') {
    const place = action.workingDirectory === undefined ? '' : `# in ${action.workingDirectory}\n`;
    return [{ type: 'code', language: 'sh', text: `${place}${shorten(action.resource)}` }];
  }
  return [{ type: 'code', text: shorten(`${action.tool}: ${approval.summary}`) }];
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

function card(approval: Approval, parts: readonly OutboundPart[]): NewMessage {
  return {
    key: approvalCardKey(approval.id),
    conversation: approval.conversation,
    importance: 'approval',
    sessionId: approval.sessionId,
    turnId: approval.turnId,
    body: { parts: [...parts] },
  };
}
