import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { parseAgent } from '#core/agents/parse-agent.ts';
import { systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import { newId } from '#core/kit/ids.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';
import type { Tool, ToolClaim } from '#workers/tools/tool.ts';
import { createGate } from '#workers/turn/gate.ts';
import type { GateDecision, TurnWork } from '#workers/turn/turn-deps.ts';

/** An agent that may do everything, so that only the people of its turn bound it. */
export function mightyAgent(): AgentProfile {
  const text = "---\nname: chief\ndescription: Ends things.\ngrants:\n  - allow: '*'\n---\nWork.";
  const { profile } = parseAgent(text, 'chief.md');
  if (profile === undefined) throw new Error('the agent file is wrong');
  return profile;
}

/** What the gate says to an action of an agent in a turn. */
export async function gateVerdict(
  db: Db,
  agent: AgentProfile,
  turn: Pick<TurnWork, 'turnId' | 'sessionId' | 'origin'>,
  call: { readonly tool: Tool; readonly claim: ToolClaim },
): Promise<GateDecision['effect']> {
  const gate = createGate({ db, clock: systemClock, rolePolicies: compileRolePolicies(), notify: undefined });
  const decision = await gate({
    agent,
    work: {
      ...turn,
      kind: 'message',
      agentName: agent.name,
      agentVersion: agent.version,
      messages: [],
      attempts: 1,
      crashes: 0,
    },
    callKey: newId(),
    args: {},
    ...call,
  });
  return decision.effect;
}
