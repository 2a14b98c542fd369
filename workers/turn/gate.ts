import { agentRights, approversOf } from '#core/agents/agent-rights.ts';
import { type Approval, type ApprovalAction, actionDigest } from '#core/approvals/approval.ts';
import { consumeApproval } from '#core/approvals/consume-approval.ts';
import { findCopies } from '#core/approvals/find-copies.ts';
import { findApprovalOfCall } from '#core/approvals/list-approvals.ts';
import { requestApproval } from '#core/approvals/request-approval.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import type { AuditRecord } from '#core/audit/audit.ts';
import type { Clock } from '#core/kit/clock.ts';
import { coalesce } from '#core/kit/coalesce.ts';
import type { Db } from '#core/kit/database.ts';
import { jsonSchema } from '#core/kit/json.ts';
import { leastRole } from '#core/people/least-role.ts';
import type { PersonRole } from '#core/people/person.ts';
import { type Decision, decide } from '#core/permissions/decide.ts';
import { decisionRecord } from '#core/permissions/decision-record.ts';
import { explainDecision } from '#core/permissions/explain-decision.ts';
import { findRemembered } from '#core/permissions/find-remembered.ts';
import { compilePolicy, type Policy } from '#core/permissions/policy.ts';
import { peopleOfTurn } from '#core/turns/people-of-turn.ts';
import type { TurnHooks } from '../hooks/turn-hooks.ts';
import type { ClaimPart } from '../tools/tool.ts';
import type { Gate, GateDecision } from './turn-deps.ts';

export interface GateDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly rolePolicies: Readonly<Record<PersonRole, Policy>>;
  /** Where requests are shown besides where they are asked; undefined for the people who may decide, when need be. */
  readonly notify: readonly string[] | undefined;
  /** Told what people are asked, and what they said once the turn goes on with it. */
  readonly hooks?: Pick<TurnHooks, 'tell'>;
}

type GateCall = Parameters<Gate>[0];

const minuteMs = 60_000;

/**
 * The one way from a tool call to its effect. Decides by the newest grants of the agent and of the person it works for;
 * an `ask` becomes an approval that is bound to the exact action and spent once, at the moment of doing. Every decision
 * is on the audit chain before anything happens.
 */
export function createGate(deps: GateDeps): Gate {
  // Nothing a person without a role asks for is allowed: the person may have been removed meanwhile.
  const nobody = compilePolicy('nobody', []);
  const audit = coalesce<AuditRecord, void>(
    async (records) => {
      await appendAudit(deps.db, records);
      return records.map(() => undefined);
    },
    { batchMax: 50 },
  );

  /** One decision for each thing the call does; its own first. */
  const decideNow = async (call: GateCall): Promise<readonly [Decision, ...Decision[]]> => {
    const { agent, work, claim } = call;
    // A message that was steered into the turn of somebody else must not act with that person's rights.
    const people = await peopleOfTurn(deps.db, work.turnId);
    const [role, remembered] = await Promise.all([
      leastRole(deps.db, people),
      findRemembered(deps.db, agent.name, work.sessionId),
    ]);
    const person = role === undefined ? nobody : deps.rolePolicies[role];
    const rights = agentRights(agent, person, claim.isOnce === true ? [] : remembered);
    const facts = {
      risk: claim.risk,
      // Few calls have a price of their own; the model calls around them are held against the budget.
      costMicros: claim.costMicros ?? 0n,
      channel: work.origin.channel,
      room: work.origin.room,
      at: deps.clock.now(),
      ...(claim.workingDirectory === undefined ? {} : { workingDirectory: claim.workingDirectory }),
    };
    const decideOn = ({ action, resource }: ClaimPart) => decide(rights, { ...facts, action, resource });
    return [decideOn(claim), ...(claim.also ?? []).map(decideOn)];
  };

  return async (call) => {
    const { agent, work, callKey, claim } = call;
    const decisions = await decideNow(call);
    const ids = { sessionId: work.sessionId, turnId: work.turnId, callId: callKey, agentName: agent.name };
    await Promise.all(decisions.map(async (decision) => await audit(decisionRecord(decision, ids))));
    const denied = decisions.find((decision) => decision.effect === 'deny');
    if (denied !== undefined) return { effect: 'deny', reason: `Denied. ${explainDecision(denied)}` };
    const asked = decisions.filter((decision) => decision.effect === 'ask');
    if (asked.length === 0) return { effect: 'allow' };
    const known = await answerOf(deps, call);
    return known ?? (await ask(deps, call, asked, claim.summary));
  };
}

function actionOf(call: GateCall): ApprovalAction {
  const { tool, args, claim } = call;
  return {
    tool: tool.name,
    arguments: jsonSchema.parse(args),
    permission: claim.action,
    resource: claim.resource,
    ...(claim.workingDirectory === undefined ? {} : { workingDirectory: claim.workingDirectory }),
    ...(claim.also === undefined || claim.also.length === 0
      ? {}
      : { also: claim.also.map(({ action, resource }) => ({ permission: action, resource })) }),
    ...(claim.isOnce === true ? { isOnce: true as const } : {}),
  };
}

/** What people said to this very call in an earlier pass; undefined when it has to be asked (again). */
async function answerOf(deps: GateDeps, call: GateCall): Promise<GateDecision | undefined> {
  const approval = await findApprovalOfCall(deps.db, call.work.turnId, call.callKey);
  if (approval === undefined) return undefined;
  const tellVerdict = (verdict: Exclude<Approval['state'], 'pending'>): void => {
    const { agent, work, tool, callKey } = call;
    const { id: approvalId, decidedByName: by, reason } = approval;
    const said = reason === '' ? undefined : reason;
    deps.hooks?.tell({
      kind: 'approval_decided',
      agent,
      work,
      approvalId,
      tool: tool.name,
      callKey,
      verdict,
      by,
      reason: said,
    });
  };
  if (approval.state !== 'pending' && approval.state !== 'approved') tellVerdict(approval.state);
  switch (approval.state) {
    case 'pending':
      return { effect: 'wait', approvalId: approval.id, summary: approval.summary };
    case 'denied': {
      const who = approval.decidedByName === undefined ? '' : ` by ${approval.decidedByName}`;
      const why = approval.reason === undefined || approval.reason === '' ? '' : ` Reason: ${approval.reason}.`;
      return { effect: 'deny', reason: `Denied${who}.${why} Do not try the same thing another way.` };
    }
    case 'expired':
      return {
        effect: 'deny',
        reason: 'Nobody decided in time, so it was not done. Ask again only if it still matters.',
      };
    case 'cancelled':
      return { effect: 'deny', reason: 'The request for approval was cancelled, so it was not done.' };
    case 'approved':
      switch (await consumeApproval(deps.db, approval.id, actionDigest(actionOf(call)))) {
        case 'consumed':
          tellVerdict('approved');
          return { effect: 'allow' };
        case 'already_consumed':
          // Begun by a worker that died: whether a repetition is safe is the tool's own statement.
          return call.tool.isIdempotent
            ? { effect: 'allow' }
            : { effect: 'deny', reason: 'Outcome unknown: the approved call was begun and interrupted. Check first.' };
        case 'other_action':
        case 'not_approved':
        case 'unknown':
          return undefined;
      }
  }
}

async function ask(deps: GateDeps, call: GateCall, asked: readonly Decision[], summary: string): Promise<GateDecision> {
  const { agent, work, claim } = call;
  const rules = {
    risk: claim.risk,
    costMicros: claim.costMicros,
    requesterId: work.origin.personId,
    // Whoever decides must be one who may decide every part that is asked for.
    approvers: asked.flatMap((decision) => approversOf(agent, decision.approvers)),
    requesterMayApprove: agent.approval.requester_may_approve,
  };
  const copies = await findCopies(deps.db, rules, deps.notify);
  const approvalId = await deps.db.transaction().execute(async (tx) => {
    const requested = await requestApproval(tx, {
      ...rules,
      sessionId: work.sessionId,
      turnId: work.turnId,
      callId: call.callKey,
      agentName: agent.name,
      action: actionOf(call),
      summary,
      conversation: work.origin,
      copies,
      validMs: agent.approval.expires_minutes * minuteMs,
    });
    if (requested.audit !== undefined) await appendAudit(tx, [requested.audit]);
    return requested.approval.id;
  });
  const { tool, callKey } = call;
  deps.hooks?.tell({
    kind: 'approval_requested',
    agent,
    work,
    approvalId,
    tool: tool.name,
    callKey,
    summary,
    risk: claim.risk,
  });
  return { effect: 'wait', approvalId, summary };
}
