// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are shell expansions.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Decision, decide, type PermissionRequest, type Rights } from '#core/permissions/decide.ts';
import { decisionError, explainDecision } from '#core/permissions/explain-decision.ts';
import type { GrantItemInput } from '#core/permissions/grant-item.ts';
import type { GrantRule } from '#core/permissions/grant-rule.ts';
import { compilePolicy } from '#core/permissions/policy.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';

const roles = compileRolePolicies();

function rights(grants: readonly GrantItemInput[], overrides: Partial<Rights> = {}): Rights {
  return {
    agent: compilePolicy('agent tester', grants),
    person: roles.owner,
    autonomy: 'autonomous',
    remembered: [],
    ...overrides,
  };
}

const low = { risk: 'low', costMicros: 0n, at: new Date('2027-03-31T10:00:00Z') } as const;

function ask(grants: readonly GrantItemInput[], request: PermissionRequest, overrides?: Partial<Rights>): Decision {
  return decide(rights(grants, overrides), { ...low, ...request });
}

const exec = (command: string) => ({ action: 'tool.exec', resource: command });
const read = (file: string) => ({ action: 'file.read', resource: file });

function rule(overrides: Partial<GrantRule> = {}): GrantRule {
  return {
    id: 'rule-1',
    subjectKind: 'agent',
    subject: 'tester',
    action: 'tool.exec',
    resource: 'make *',
    workingDirectory: undefined,
    createdBy: 'someone',
    approvalId: undefined,
    createdAt: new Date(),
    revokedAt: undefined,
    ...overrides,
  };
}

test('without a grant everything is denied, and unknown actions are denied whatever is granted', () => {
  expect(ask([], read('a')).effect).toBe('deny');
  expect(ask([{ allow: '*' }], { action: 'file.erase', resource: 'a' }).effect).toBe('deny');
});

test('deny beats ask beats allow, in whatever order they are written', () => {
  const grants: GrantItemInput[] = [{ allow: 'file.*' }, { ask: 'file.read', on: 'b/**' }, { deny: '*', on: 'c/**' }];
  for (const order of [grants, [...grants].reverse()]) {
    expect(ask(order, read('a/x')).effect).toBe('allow');
    expect(ask(order, read('b/x')).effect).toBe('ask');
    expect(ask(order, read('c/x')).effect).toBe('deny');
  }
});

test('paths are made absolute before they are matched, so that .. leads nowhere', () => {
  const grants: GrantItemInput[] = [
    { allow: 'file.read', on: 'src/**' },
    { deny: 'file.read', on: '**/.env' },
  ];
  expect(ask(grants, read('./src/../src/a.ts')).effect).toBe('allow');
  expect(ask(grants, read('/workspace/src')).effect).toBe('allow');
  expect(ask(grants, read('src/../../etc/passwd')).effect).toBe('deny');
  expect(ask(grants, read('src/x/../.env')).effect).toBe('deny');
});

test('every command of a line needs a grant of its own', () => {
  const grants: GrantItemInput[] = [
    { allow: 'tool.exec', on: ['git status *', 'ls *'] },
    { allow: 'tool.exec', on: 'cat *' },
  ];
  expect(ask(grants, exec('git status -s && ls -la; cat a')).effect).toBe('allow');
  expect(ask(grants, exec('git status; rm -rf x')).effect).toBe('deny');
  expect(ask(grants, exec('ls $(rm -rf x)')).effect).toBe('deny');
  expect(ask(grants, exec('ls `rm x`')).effect).toBe('deny');
  expect(ask(grants, exec('cat a > b')).effect).toBe('deny');
  expect(ask(grants, exec('cat a 2>/dev/null')).effect).toBe('allow');
  expect(ask(grants, exec('X=1 ls')).effect).toBe('deny');
  expect(ask(grants, exec('')).effect).toBe('deny');
});

test.each([
  'echo $((1))',
  'echo ${x:-$(rm a)}',
  'echo <(echo a)',
  'echo "a',
  'echo $(echo $\\\n(rm a))',
  'echo a\u0000',
])('a pattern that fits what is seen of %j does not open it, because not all of it is seen', (line) => {
  const grants: GrantItemInput[] = [
    { allow: 'tool.exec', on: ['echo *', '< *', '> *'] },
    { ask: 'tool.exec', on: 'echo *' },
  ];
  expect(ask(grants, exec(line)).effect).toBe('deny');
  expect(ask([{ allow: 'tool.exec' }], exec(line)).effect).toBe('allow');
});

test('a line that cannot be followed is covered only by a grant for everything', () => {
  const heredoc = exec('cat <<EOF\nhello\nEOF');
  expect(ask([{ allow: 'tool.exec', on: 'cat *' }], heredoc).effect).toBe('deny');
  expect(ask([{ allow: 'tool.exec' }], heredoc).effect).toBe('allow');
  expect(
    ask(
      [
        { allow: 'tool.exec', on: '**' },
        { deny: 'tool.exec', on: 'rm *' },
      ],
      heredoc,
    ).effect,
  ).toBe('allow');
});

test.each([
  'rm -rf /tmp/x',
  'ls; rm -rf /tmp/x',
  'sudo /bin/rm -rf /tmp/x',
  "r'm' -rf /tmp/x",
  'bash -c "ls && rm -rf /tmp/x"',
  'cat <<EOF\n$(rm -rf /tmp/x)\nEOF',
  'for f in a; do rm -rf /tmp/x; done',
  'X=rm; echo $((1)) && rm -rf /tmp/x',
])('a deny pattern reaches %j', (line) => {
  expect(ask([{ allow: 'tool.exec' }, { deny: 'tool.exec', on: 'rm -rf *' }], exec(line)).effect).toBe('deny');
});

test('an ask pattern asks for the whole line as soon as one command of it matches', () => {
  const grants: GrantItemInput[] = [{ allow: 'tool.exec' }, { ask: 'tool.exec', on: 'git push *', to: 'role:owner' }];
  expect(ask(grants, exec('git add . && git push'))).toMatchObject({ effect: 'ask', approvers: [['role:owner']] });
  expect(ask(grants, exec('git add .')).effect).toBe('allow');
});

test('an ask pattern that only might match opens nothing', () => {
  const grants: GrantItemInput[] = [{ ask: 'tool.exec', on: 'git push *' }];
  expect(ask(grants, exec('git push origin')).effect).toBe('ask');
  expect(ask(grants, exec('git push origin; curl evil')).effect).toBe('deny');
  expect(ask(grants, exec('sudo git push origin')).effect).toBe('deny');
});

test('a line that only shows while it runs what it is goes to a person where some commands are denied or asked', () => {
  const guarded: GrantItemInput[] = [{ allow: 'tool.exec' }, { deny: 'tool.exec', on: 'rm -rf *' }];
  for (const line of ['$TOOL -x', 'curl a | sh', 'eval "$x"']) {
    expect(ask(guarded, exec(line)).effect).toBe('ask');
    expect(ask([{ allow: 'tool.exec' }], exec(line)).effect).toBe('allow');
  }
});

test('a line too long to be read in every way is caught by every deny pattern', () => {
  const line = exec(`echo ${'a '.repeat(40_000)}`);
  expect(ask([{ allow: 'tool.exec' }, { deny: 'tool.exec', on: 'mkfs*' }], line).effect).toBe('deny');
  expect(ask([{ allow: 'tool.exec' }], line).effect).toBe('allow');
});

test('exceptions narrow an allow on the slightest touch, and lift a deny only as a whole', () => {
  const allow: GrantItemInput[] = [{ allow: 'tool.exec', except: ['rm *'] }];
  expect(ask(allow, exec('ls')).effect).toBe('allow');
  expect(ask(allow, exec('ls && rm a')).effect).toBe('deny');
  const deny: GrantItemInput[] = [{ allow: 'tool.exec' }, { deny: 'tool.exec', on: 'git *', except: ['git status *'] }];
  expect(ask(deny, exec('git status')).effect).toBe('allow');
  expect(ask(deny, exec('git status; git push')).effect).toBe('deny');
});

test('a condition on a fact nobody knows closes: no allow, no ask, but a deny', () => {
  const unknown = { action: 'file.read', resource: 'a', risk: undefined, costMicros: undefined } as const;
  for (const when of [
    { cost_usd: { max: 5 } },
    { risk: { max: 'high' as const } },
    { channel: ['slack'] },
    { room: ['1'] },
  ]) {
    const request = { action: unknown.action, resource: unknown.resource };
    expect(decide(rights([{ allow: 'file.read', when }]), request).effect).toBe('deny');
    expect(decide(rights([{ ask: 'file.read', when }]), request).effect).toBe('deny');
    expect(decide(rights([{ allow: 'file.read' }, { deny: 'file.read', when }]), request).effect).toBe('deny');
  }
  const hours = { hours: '00:00-24:00' };
  expect(decide(rights([{ allow: 'file.read', when: hours }]), read('a')).effect).toBe('deny');
});

test.each([
  [{ cost_usd: { max: 0.5 } }, { costMicros: 500_000n }, true],
  [{ cost_usd: { max: 0.5 } }, { costMicros: 500_001n }, false],
  [{ risk: { max: 'medium' } }, { risk: 'medium' }, true],
  [{ risk: { max: 'medium' } }, { risk: 'high' }, false],
  [{ channel: ['slack', 'web'] }, { channel: 'web' }, true],
  [{ channel: ['slack'] }, { channel: 'telegram' }, false],
  [{ until: '2027-01-01T00:00Z' }, { at: new Date('2026-12-31T23:59:59Z') }, true],
  [{ until: '2027-01-01T00:00+02:00' }, { at: new Date('2026-12-31T23:00:00Z') }, false],
  [{ hours: '08:00-18:00', tz: 'Europe/Berlin' }, { at: new Date('2026-07-01T06:30:00Z') }, true],
  [{ hours: '08:00-18:00', tz: 'Europe/Berlin' }, { at: new Date('2026-07-01T16:00:00Z') }, false],
  [{ hours: '22:00-06:00', days: ['fri'] }, { at: new Date('2026-11-21T05:00:00Z') }, true],
  [{ hours: '22:00-06:00', days: ['fri'] }, { at: new Date('2026-11-20T05:00:00Z') }, false],
  [{ days: ['sat', 'sun'] }, { at: new Date('2026-11-21T12:00:00Z') }, true],
  [{ days: ['sun'], tz: 'Pacific/Auckland' }, { at: new Date('2026-11-21T12:00:00Z') }, true],
] as const)('condition %o with %o holds: %s', (when, facts, isAllowed) => {
  const grant = JSON.parse(JSON.stringify({ allow: 'file.read', when })) as GrantItemInput;
  expect(ask([grant], { ...read('a'), ...facts }).effect).toBe(isAllowed ? 'allow' : 'deny');
});

test('a near miss names the grant and the condition that failed', () => {
  const decision = ask([{ allow: 'file.read', when: { cost_usd: { max: 5 } } }], {
    ...read('a'),
    costMicros: 5_120_000n,
  });
  expect(decision.agent.near).toEqual([{ source: 'agent tester grant 1', effect: 'allow', failed: 'cost 5.12 > 5' }]);
  expect(explainDecision(decision)).toBe(
    'To read a file (a) is not allowed: no grant of agent tester covers it; agent tester grant 1 would apply, but cost 5.12 > 5.',
  );
});

test('an agent has no more rights than the person it works for, and no more than its own', () => {
  const person = compilePolicy('role member', [{ allow: 'file.read' }, { ask: 'tool.exec' }]);
  const all: GrantItemInput[] = [{ allow: '*' }];
  expect(ask(all, read('a'), { person }).effect).toBe('allow');
  expect(ask(all, exec('ls'), { person }).effect).toBe('ask');
  expect(ask(all, { action: 'file.write', resource: 'a' }, { person }).effect).toBe('deny');
  expect(ask([{ allow: 'file.read' }], { action: 'file.write', resource: 'a' }).effect).toBe('deny');
  expect(decisionError(ask(all, { action: 'file.write', resource: 'a' }, { person }))?.text).toBe(
    'To write a file (a) is not allowed: no grant of role member covers it. An owner can add a grant for file.write to those of role member.',
  );
});

test('supervised: an allow acts by itself for low risk only', () => {
  const grants: GrantItemInput[] = [{ allow: 'tool.exec' }];
  const by = (risk: 'low' | 'medium' | 'high') => ask(grants, { ...exec('ls'), risk }, { autonomy: 'supervised' });
  expect(by('low').effect).toBe('allow');
  expect(by('medium')).toMatchObject({ effect: 'ask', heldBack: 'the agent is supervised and the risk is medium' });
  expect(by('high').effect).toBe('ask');
  expect(decide(rights(grants, { autonomy: 'supervised' }), exec('ls')).effect).toBe('ask');
});

test('semi-autonomous: what lies above the threshold is asked, and what is not known too', () => {
  const grants: GrantItemInput[] = [{ allow: 'tool.exec' }];
  const by = (facts: Partial<PermissionRequest>, askAbove?: Rights['askAbove']) =>
    decide(rights(grants, { autonomy: 'semi-autonomous', askAbove }), { ...exec('ls'), ...facts }).effect;
  expect(by({ risk: 'medium' })).toBe('allow');
  expect(by({ risk: 'high' })).toBe('ask');
  expect(by({})).toBe('ask');
  expect(by({ risk: 'medium' }, { risk: 'low' })).toBe('ask');
  expect(by({ risk: 'high', costMicros: 1_000_000n }, { costMicros: 1_000_000n })).toBe('allow');
  expect(by({ risk: 'low', costMicros: 1_000_001n }, { costMicros: 1_000_000n })).toBe('ask');
  expect(by({ risk: 'low' }, { costMicros: 1_000_000n })).toBe('ask');
});

test('a remembered answer settles an ask for exactly its text and directory, and nothing else', () => {
  const grants: GrantItemInput[] = [{ ask: 'tool.exec' }, { deny: 'tool.exec', on: 'rm *' }];
  const remembered = [rule(), rule({ id: 'rule-2', resource: 'rm x' }), rule({ id: 'rule-3', action: 'file.read' })];
  expect(ask(grants, exec('make *'), { remembered })).toMatchObject({ effect: 'allow', rememberedBy: 'rule-1' });
  expect(ask(grants, exec('make all'), { remembered }).effect).toBe('ask');
  expect(ask(grants, exec('rm x'), { remembered }).effect).toBe('deny');
  expect(ask(grants, { action: 'file.read', resource: 'make *' }, { remembered }).effect).toBe('deny');
  const inDirectory = [rule({ workingDirectory: '/workspace/a' })];
  expect(ask(grants, { ...exec('make *'), workingDirectory: '/workspace/a' }, { remembered: inDirectory }).effect).toBe(
    'allow',
  );
  expect(ask(grants, { ...exec('make *'), workingDirectory: '/workspace/b' }, { remembered: inDirectory }).effect).toBe(
    'ask',
  );
  expect(ask(grants, exec('make *'), { remembered: inDirectory }).effect).toBe('ask');
});

test('wrong grants are all named in one error', () => {
  expect(() =>
    compilePolicy('agent x', [
      { allow: 'tool.exce' },
      { allow: 'file.read', ask: 'file.read' },
      { ask: 'file.read', to: 'role:boss' },
      { allow: 'file.read', when: { hours: '8-18', tz: 'Mars' } },
    ]),
  ).toThrow(
    /unknown action "tool.exce", did you mean "tool.exec"\?.*exactly one of allow, ask, deny; this has allow and ask.*"role:boss" does not say who may decide.*hours are written like.*unknown time zone/s,
  );
});

// --- properties -------------------------------------------------------------------------------------------------

const segment = fc.constantFrom('a', 'b', 'c');
const filePath = fc.array(segment, { minLength: 1, maxLength: 3 }).map((list) => `/workspace/${list.join('/')}`);
const pattern = fc.oneof(
  filePath,
  filePath.map((text) => `${text}/**`),
  filePath.map((text) => text.replace(/[abc]$/, '*')),
  fc.constant('**'),
);
const effect = fc.constantFrom('allow' as const, 'ask' as const, 'deny' as const);
const action = fc.constantFrom('file.read', 'file.write', 'file.list');
const when = fc.option(
  fc.constantFrom<NonNullable<GrantItemInput['when']>>(
    { risk: { max: 'low' } },
    { risk: { max: 'medium' } },
    { cost_usd: { max: 1 } },
    { channel: ['slack'] },
  ),
  { nil: undefined },
);
const grant = fc
  .record({
    effect,
    actions: fc.array(fc.oneof(action, fc.constant('file.*')), { minLength: 1, maxLength: 2 }),
    on: pattern,
    when,
  })
  .map(({ effect: kind, actions, on, when: condition }) => {
    const item: GrantItemInput = { [kind]: actions, on };
    return condition === undefined ? item : { ...item, when: condition };
  });
const request = fc
  .record({
    action,
    resource: filePath,
    risk: fc.option(fc.constantFrom('low' as const, 'medium' as const, 'high' as const), { nil: undefined }),
    costMicros: fc.option(fc.constantFrom(500_000n, 2_000_000n), { nil: undefined }),
    channel: fc.option(fc.constantFrom('slack', 'telegram'), { nil: undefined }),
  })
  .map(
    ({ risk, costMicros, channel, ...given }): PermissionRequest => ({
      ...given,
      ...(risk === undefined ? {} : { risk }),
      ...(costMicros === undefined ? {} : { costMicros }),
      ...(channel === undefined ? {} : { channel }),
    }),
  );

/** The rules once more, as plainly as possible and without the engine's index, globs or conditions. */
function oracle(grants: readonly GrantItemInput[], asked: PermissionRequest): 'allow' | 'ask' | 'deny' {
  const matching = grants.filter((item) => {
    const actions = [item.allow ?? item.ask ?? item.deny ?? []].flat();
    if (!actions.some((name) => name === asked.action || name === 'file.*')) return false;
    const on = String(item.on);
    const fits =
      on === '**' ||
      (on.endsWith('/**')
        ? asked.resource === on.slice(0, -3) || asked.resource.startsWith(on.slice(0, -2))
        : on.endsWith('/*')
          ? asked.resource.startsWith(on.slice(0, -1)) && !asked.resource.slice(on.length - 1).includes('/')
          : asked.resource === on);
    if (!fits) return false;
    const isDeny = item.deny !== undefined;
    const rank = { low: 0, medium: 1, high: 2 };
    if (item.when?.risk !== undefined) {
      return asked.risk === undefined ? isDeny : rank[asked.risk] <= rank[item.when.risk.max];
    }
    if (item.when?.cost_usd !== undefined) {
      return asked.costMicros === undefined ? isDeny : asked.costMicros <= BigInt(item.when.cost_usd.max) * 1_000_000n;
    }
    if (item.when?.channel !== undefined) {
      return asked.channel === undefined ? isDeny : item.when.channel.includes(asked.channel);
    }
    return true;
  });
  if (matching.some((item) => item.deny !== undefined)) return 'deny';
  if (matching.some((item) => item.ask !== undefined)) return 'ask';
  return matching.some((item) => item.allow !== undefined) ? 'allow' : 'deny';
}

test('decisions are those of a plain reading of the rules, and name a grant for whatever they open', () => {
  fc.assert(
    fc.property(fc.array(grant, { maxLength: 8 }), request, (grants, asked) => {
      const decision = decide(rights(grants), asked);
      expect(decision.effect).toBe(oracle(grants, asked));
      if (decision.effect !== 'deny') expect(decision.agent.by.length).toBeGreaterThan(0);
    }),
    { numRuns: 5000, seed: 3 },
  );
});

const rank = { deny: 0, ask: 1, allow: 2 };

test('nothing but an allow opens: adding a deny or ask, autonomy or a person never turns a no into a yes', () => {
  const closing = fc.array(
    grant.filter((item) => item.allow === undefined),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(
      fc.array(grant, { maxLength: 6 }),
      closing,
      fc.array(grant, { maxLength: 4 }),
      request,
      (grants, more, person, asked) => {
        const before = decide(rights(grants), asked);
        const denied = more.filter((item) => item.deny !== undefined);
        expect(rank[decide(rights([...grants, ...denied]), asked).effect]).toBeLessThanOrEqual(rank[before.effect]);
        expect(decide(rights([...grants, ...more]), asked).effect === 'allow').toBe(
          before.effect === 'allow' && oracle([...grants, ...more], asked) === 'allow',
        );
        expect(decide(rights(more), asked).effect).not.toBe('allow');
        for (const autonomy of ['supervised', 'semi-autonomous'] as const) {
          const held = decide(rights(grants, { autonomy }), asked).effect;
          expect(rank[held]).toBeLessThanOrEqual(rank[before.effect]);
          expect(held === 'deny').toBe(before.effect === 'deny');
        }
        const both = decide(rights(grants, { person: compilePolicy('role member', person) }), asked).effect;
        expect(rank[both]).toBe(Math.min(rank[before.effect], rank[oracle(person, asked)]));
      },
    ),
    { numRuns: 3000, seed: 5 },
  );
});

test('remembered answers never settle a deny, whatever they say', () => {
  fc.assert(
    fc.property(fc.array(grant, { maxLength: 6 }), request, (grants, asked) => {
      const remembered = [rule({ action: asked.action, resource: asked.resource })];
      const before = decide(rights(grants), asked).effect;
      const after = decide(rights(grants, { remembered }), asked).effect;
      expect(after).toBe(before === 'ask' ? 'allow' : before);
    }),
    { numRuns: 2000, seed: 9 },
  );
});
