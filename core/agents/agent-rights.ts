import { type Micros, usdToMicros } from '../kit/money.ts';
import type { Rights } from '../permissions/decide.ts';
import type { GrantRule } from '../permissions/grant-rule.ts';
import { compilePolicy, type Policy } from '../permissions/policy.ts';
import type { AgentProfile } from './agent-profile.ts';

/** Compiled once per version: a profile object is never changed, and dropped policies go with it. */
const policies = new WeakMap<AgentProfile, Policy>();

/** The grants of an agent, compiled. @throws AppError `grant.invalid`, which the loader has ruled out. */
export function agentPolicy(profile: AgentProfile): Policy {
  const found = policies.get(profile);
  if (found !== undefined) return found;
  // Listing a skill is the permission to load it; a `deny` of the profile still wins.
  const grants = [...profile.grants, { allow: 'skill.use' }];
  const policy = compilePolicy(`agent ${profile.name}`, grants, (index) => {
    if (index === profile.grants.length) return `${profile.source} skills`;
    const line = profile.grantLines?.[index];
    return line === undefined ? `${profile.source} grant ${index + 1}` : `${profile.source}:${line}`;
  });
  policies.set(profile, policy);
  return policy;
}

/** Everything `decide` needs for a turn of this agent on behalf of a person. */
export function agentRights(profile: AgentProfile, person: Policy, remembered: readonly GrantRule[]): Rights {
  const { ask_above: above } = profile;
  return {
    agent: agentPolicy(profile),
    person,
    autonomy: profile.autonomy,
    askAbove: above === undefined ? undefined : { risk: above.risk, costMicros: costOf(above.cost_usd) },
    remembered,
  };
}

/** Who may decide an ask of this agent: the lists its grants name, or the profile's own. */
export function approversOf(
  profile: AgentProfile,
  decided: readonly (readonly string[])[],
): readonly (readonly string[])[] {
  return decided.length > 0 ? decided : [profile.approval.approvers];
}

function costOf(usd: number | undefined): Micros | undefined {
  return usd === undefined ? undefined : usdToMicros(usd);
}
