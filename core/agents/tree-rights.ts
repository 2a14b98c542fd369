import type { Facts } from '../permissions/conditions.ts';
import { decide } from '../permissions/decide.ts';
import type { Effect } from '../permissions/grant.ts';
import { compilePolicy } from '../permissions/policy.ts';
import { toResource } from '../permissions/resource.ts';
import type { AgentProfile } from './agent-profile.ts';
import { agentPolicy, agentRights } from './agent-rights.ts';

type PathAction = 'file.read' | 'file.write' | 'file.delete' | 'file.search';

const anyone = compilePolicy('anyone', [{ allow: '*' }]);
const rank: Readonly<Record<Effect, number>> = { allow: 0, ask: 1, deny: 2 };

/**
 * Whether any of an agent's grants could decide otherwise for something below a directory than for the directory: a
 * pattern, or an exception, that some path below it matches.
 */
export function mayDifferBelow(profile: AgentProfile, action: PathAction, directory: string): boolean {
  const resource = toResource('path', directory);
  const below = resource.kind === 'text' ? `${resource.text.replace(/\/$/, '')}/` : '';
  return (agentPolicy(profile).byAction.get(action) ?? []).some((grant) => {
    const restricting = grant.effect === 'allow' ? grant.except : grant.patterns;
    return restricting.some((pattern) => !pattern.isEverything && pattern.glob.mayBegin(below));
  });
}

/**
 * Those of `paths` that an agent's own grants treat more strictly than the directory they lie in, which was decided on
 * and maybe approved. What a person said yes to in general does not cover what the grants hold back in particular.
 */
export function stricterBelow(
  profile: AgentProfile,
  facts: Facts,
  action: PathAction,
  directory: string,
  paths: Iterable<string>,
): string[] {
  const rights = { ...agentRights(profile, anyone, []), autonomy: 'autonomous' } as const;
  const rankOf = (resource: string): number => rank[decide(rights, { ...facts, action, resource }).effect];
  const allowed = rankOf(directory);
  return [...paths].filter((path) => rankOf(path) > allowed);
}
