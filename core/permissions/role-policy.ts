import type { PersonRole } from '../people/person.ts';
import type { GrantItemInput } from './grant-item.ts';
import { compilePolicy, type Policy } from './policy.ts';

/** What members may have agents do for them unless the settings say otherwise. */
const defaultMemberGrants: readonly GrantItemInput[] = [
  {
    allow: [
      'file.*',
      'memory.*',
      'tool.exec',
      'tool.python',
      'tool.job',
      'git.worktree',
      'git.merge',
      'session.list',
      'session.read',
      'budget.read',
      'message.send',
      'person.ask',
      'web.search',
      'skill.use',
      'mcp.call',
    ],
  },
  { allow: ['topic.*', 'blackboard.*'] },
  { ask: ['http.request', 'browser.use'] },
];

/**
 * The policy of each role: what an agent may do is the intersection of its own grants and those of the person it works
 * for. Owners and administrators limit an agent by its profile alone.
 * @throws AppError `grant.invalid` for member grants that are wrong.
 */
export function compileRolePolicies(
  memberGrants: readonly GrantItemInput[] = defaultMemberGrants,
): Readonly<Record<PersonRole, Policy>> {
  return {
    owner: compilePolicy('role owner', [{ allow: '*' }]),
    admin: compilePolicy('role admin', [{ allow: '*' }]),
    member: compilePolicy('role member', memberGrants),
  };
}
