import { actionTable, isAction } from './actions.ts';
import { checkConditions, type Facts, type Risk, riskRank } from './conditions.ts';
import type { Effect, Grant } from './grant.ts';
import type { GrantRule } from './grant-rule.ts';
import type { Policy } from './policy.ts';
import { type Pattern, partsOf, type Resource, toResource, touches } from './resource.ts';

/** What someone wants to do. `resource` is a command line, a path, a host or a name, as the action has it. */
export interface PermissionRequest extends Facts {
  readonly action: string;
  readonly resource: string;
}

/** How much an agent may do before a person is asked. */
type AutonomyLevel = 'supervised' | 'semi-autonomous' | 'autonomous';

/** Everything that decides; all of it is data, loaded before. */
export interface Rights {
  readonly agent: Policy;
  /** The policy of the role of the person whose turn it is. */
  readonly person: Policy;
  readonly autonomy: AutonomyLevel;
  /** Semi-autonomous agents ask above these; without any they ask above medium risk. */
  readonly askAbove?: { readonly risk?: Risk | undefined; readonly costMicros?: bigint | undefined } | undefined;
  /** Answers people gave for good ("allow always"), of this agent and this session, revoked ones left out. */
  readonly remembered: readonly GrantRule[];
}

/** A grant that almost applied, and the condition that kept it from it. */
interface NearMiss {
  readonly source: string;
  readonly effect: Effect;
  readonly failed: string;
}

/** The decision by one policy alone. */
export interface PolicyDecision {
  readonly subject: string;
  readonly policyVersion: string;
  readonly effect: Effect;
  /** The grants that decided it; empty when nothing covers the request, which denies it. */
  readonly by: readonly string[];
  readonly near: readonly NearMiss[];
  /** For an ask: one list per deciding grant that names approvers. */
  readonly approvers: readonly (readonly string[])[];
}

/** The whole answer, complete enough to be replayed and to be explained to a person. */
export interface Decision {
  readonly effect: Effect;
  readonly action: string;
  readonly resource: string;
  readonly agent: PolicyDecision;
  readonly person: PolicyDecision;
  /** Set when autonomy turned an allow into an ask: why. */
  readonly heldBack: string | undefined;
  /** The remembered answer that settled the ask. */
  readonly rememberedBy: string | undefined;
  readonly approvers: readonly (readonly string[])[];
  readonly facts: Facts;
}

const nearMax = 5;

/**
 * Decides whether a request is allowed, has to be asked for, or is denied. Pure: same data, same answer.
 *
 * 1. Each policy by itself: no grant, no right; any matching deny denies; else any matching ask asks; else allow.
 * 2. Agent and person together: the stricter one counts.
 * 3. Autonomy only holds back, it never opens. Supervised: an allow grant acts by itself for low risk only, anything of
 *    medium, high or unknown risk is asked. Semi-autonomous: what lies above `askAbove` is asked, an unknown risk or
 *    cost too. Autonomous: the grants alone.
 * 4. A remembered answer settles an ask, whatever it came from. It never settles a deny and opens nothing that no grant
 *    covers.
 */
export function decide(rights: Rights, request: PermissionRequest): Decision {
  const agent = decideByPolicy(rights.agent, request);
  const person = decideByPolicy(rights.person, request);
  const granted = stricter(agent.effect, person.effect);
  const heldBack = granted === 'allow' ? holdBack(rights, request) : undefined;
  const wanted = heldBack === undefined ? granted : 'ask';
  const rule = wanted === 'ask' ? rights.remembered.find((item) => isRemembered(item, request)) : undefined;
  return {
    effect: rule === undefined ? wanted : 'allow',
    action: request.action,
    resource: request.resource,
    agent,
    person,
    heldBack,
    rememberedBy: rule?.id,
    approvers: wanted === 'ask' && rule === undefined ? [...agent.approvers, ...person.approvers] : [],
    facts: factsOf(request),
  };
}

/** The decision by one policy alone. */
function decideByPolicy(policy: Policy, request: PermissionRequest): PolicyDecision {
  const base = { subject: policy.subject, policyVersion: policy.version };
  if (!isAction(request.action)) return { ...base, effect: 'deny', by: [], near: [], approvers: [] };
  const resource = toResource(actionTable[request.action].resource, request.resource);
  const near: NearMiss[] = [];
  const live = (policy.byAction.get(request.action) ?? []).filter((grant) => isLive(grant, resource, request, near));

  const denies = live.filter((grant) => grant.effect === 'deny' && reaches(grant, resource));
  if (denies.length > 0) return { ...base, effect: 'deny', by: sourcesOf(denies), near, approvers: [] };

  // Every part must be covered by a pattern that surely matches it; asks may also be stricter than what is sure.
  const opening = live.filter((grant) => grant.effect !== 'deny');
  const parts = partsOf(resource);
  const covering =
    parts === undefined
      ? [opening.filter((grant) => grant.patterns.some((pattern) => pattern.isEverything))]
      : parts.map((part) => opening.filter((grant) => grant.patterns.some((pattern) => covers(pattern, part))));
  if (covering.some((grants) => grants.length === 0)) return { ...base, effect: 'deny', by: [], near, approvers: [] };

  // A line that only shows while it runs what it is: no pattern can tell, so a person looks at it.
  const isOpaque = resource.kind === 'command' && resource.command.isOpaque;
  const asks = live.filter((grant) =>
    isOpaque ? grant.effect !== 'allow' : grant.effect === 'ask' && reaches(grant, resource),
  );
  if (asks.length > 0) {
    const approvers = asks.map((grant) => grant.approvers).filter((rules) => rules.length > 0);
    return { ...base, effect: 'ask', by: sourcesOf(asks), near, approvers };
  }
  return { ...base, effect: 'allow', by: sourcesOf(new Set(covering.flat())), near, approvers: [] };
}

/** Exceptions and conditions: whether a grant is in force for this request at all. */
function isLive(grant: Grant, resource: Resource, request: PermissionRequest, near: NearMiss[]): boolean {
  if (isExcepted(grant, resource)) return false;
  const result = checkConditions(grant.when, request);
  if (result.state === 'holds') return true;
  // A fact nobody knows must not open anything, and must not keep a deny from closing.
  if (grant.effect === 'deny' && result.state === 'unknown') return true;
  if (near.length < nearMax && reaches(grant, resource)) {
    near.push({ source: grant.source, effect: grant.effect, failed: result.why });
  }
  return false;
}

/** An exception takes a right away on the slightest touch; it lifts a deny or an ask only if it covers all of it. */
function isExcepted(grant: Grant, resource: Resource): boolean {
  if (grant.except.length === 0) return false;
  if (grant.effect === 'allow') return grant.except.some((pattern) => touches(pattern, resource));
  const parts = partsOf(resource);
  return parts?.every((part) => grant.except.some((pattern) => covers(pattern, part))) ?? false;
}

function covers(pattern: Pattern, part: string): boolean {
  return pattern.isEverything || pattern.glob.matches(part);
}

function reaches(grant: Grant, resource: Resource): boolean {
  return grant.patterns.some((pattern) => touches(pattern, resource));
}

function sourcesOf(grants: Iterable<Grant>): string[] {
  return [...new Set(Array.from(grants, (grant) => grant.source))];
}

function stricter(a: Effect, b: Effect): Effect {
  if (a === 'deny' || b === 'deny') return 'deny';
  return a === 'ask' || b === 'ask' ? 'ask' : 'allow';
}

function holdBack(rights: Rights, request: PermissionRequest): string | undefined {
  switch (rights.autonomy) {
    case 'autonomous':
      return undefined;
    case 'supervised':
      return request.risk === 'low'
        ? undefined
        : `the agent is supervised and the risk is ${request.risk ?? 'not known'}`;
    case 'semi-autonomous':
      return overThreshold(rights, request);
  }
}

function overThreshold(rights: Rights, request: PermissionRequest): string | undefined {
  const { costMicros } = rights.askAbove ?? {};
  const risk = rights.askAbove?.risk ?? (costMicros === undefined ? 'medium' : undefined);
  if (risk !== undefined && (request.risk === undefined || riskRank[request.risk] > riskRank[risk])) {
    return `the risk is ${request.risk ?? 'not known'} and the agent asks above ${risk}`;
  }
  if (costMicros !== undefined && (request.costMicros === undefined || request.costMicros > costMicros)) {
    return 'the cost is above what the agent may spend without asking, or not known';
  }
  return undefined;
}

/** Remembered answers are for exactly what was approved, letter by letter. */
function isRemembered(rule: GrantRule, request: PermissionRequest): boolean {
  return (
    rule.action === request.action &&
    rule.resource === request.resource &&
    (rule.workingDirectory === undefined || rule.workingDirectory === request.workingDirectory)
  );
}

function factsOf(request: PermissionRequest): Facts {
  const { action: _action, resource: _resource, ...facts } = request;
  return facts;
}
