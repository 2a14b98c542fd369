import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';
import { writeSkill } from '../support/skill-files.ts';

const agent = {
  name: 'assistant',
  frontMatter: `tools: [exec, memory_save]
skills: all
autonomy: autonomous
grants:
  - allow: [tool.exec, memory.*]`,
};

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'sw-skills-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function prepare(skills: string): Promise<Product> {
  return await Product.prepare({
    agents: [agent],
    script: scriptedBrain,
    env: { SWITCHYARD_SKILLS_DIR: skills, SWITCHYARD_LIMIT_SANDBOX_POOL_SIZE: '0' },
  });
}

async function start(product: Product): Promise<void> {
  await product.start('up');
  await product.pairOwner();
}

test('a skill is reviewed and added, its script runs in the sandbox, and a changed file takes it out of use until it is restored', async () => {
  const skills = folder();
  await using product = await prepare(skills);
  const source = writeSkill(folder(), 'greet', {
    body: 'Run scripts/greet.sh. See https://example.org/greeting.',
    files: {
      'scripts/greet.sh': '#!/bin/bash\necho "greeted-$((40+2)) as $(id -u)"\n',
      'references/tone.md': 'Be kind.',
    },
  });
  const unanswered = await product.cli(['skill', 'add', source]);
  expect(unanswered.code).toBe(1);
  expect(unanswered.stdout).toMatch(/scripts\/greet\.sh .* script[\s\S]*https:\/\/example\.org\/greeting/);
  expect(existsSync(path.join(skills, 'greet'))).toBe(false);
  expect((await product.cli(['skill', 'add', source, '--yes'])).code).toBe(0);

  await start(product);
  product.telegram.people.says(owner, owner, 'call: use_skill {"name":"greet"}');
  await product.hears(owner, /Run scripts\/greet\.sh[\s\S]*references\/tone\.md/);
  expect(JSON.stringify(product.model.requests[0]?.body)).toContain('- greet: Use it for greet.');
  product.telegram.people.says(owner, owner, 'exec: /run/host/skills/greet/scripts/greet.sh');
  await product.hears(owner, /greeted-42 as 10001/);
  product.telegram.people.says(
    owner,
    owner,
    'exec: echo evil > /run/host/skills/greet/scripts/greet.sh; rm -rf /run/host/skills/greet',
  );
  await product.hears(owner, /Read-only file system/);

  appendFileSync(path.join(skills, 'greet/scripts/greet.sh'), 'echo tampered\n');
  product.telegram.people.says(owner, owner, 'call: use_skill {"name":"greet","file":"scripts/greet.sh"}');
  await product.hears(owner, /The skill "greet" is suspended: scripts\/greet\.sh is not what was reviewed/);
  product.telegram.people.says(owner, owner, 'exec: ls /run/host/skills');
  await product.hears(owner, /Result: Exit code 0 after [\d.]+ s\.\s*(?!.*greet)[\s\S]*write-a-report$/);
  const listed = await product.cli(['skill', 'list', '--json']);
  expect(JSON.parse(listed.stdout).skills.find((skill: { name: string }) => skill.name === 'greet')).toMatchObject({
    state: 'changed',
    reason: 'scripts/greet.sh is not what was reviewed',
  });

  expect((await product.cli(['skill', 'restore', 'greet'])).code).toBe(0);
  product.telegram.people.says(owner, owner, 'exec: cat /run/host/skills/greet/scripts/greet.sh');
  await product.hears(owner, /Result: Exit code 0[\s\S]*#!\/bin\/bash(?![\s\S]*tampered)/);
});

test('a skill that limits itself narrows the turn it is used in, also when the worker dies, and grants nothing', async () => {
  const skills = folder();
  await using product = await prepare(skills);
  writeSkill(skills, 'git-only', { frontMatter: 'allowed-tools: Bash(git:*) Memory_Recall\n' });
  expect((await product.cli(['skill', 'trust', 'git-only', '--yes'])).code).toBe(0);
  await start(product);
  const calls = [
    { name: 'use_skill', arguments: { name: 'git-only' } },
    { name: 'exec', arguments: { command: 'git --version && id' } },
    { name: 'exec', arguments: { command: 'git --version' } },
    { name: 'memory_save', arguments: { text: 'x' } },
    { name: 'memory_recall', arguments: {} },
  ];
  product.model.use([{ toolCalls: calls }, { text: 'All tried.' }]);
  product.telegram.people.says(owner, owner, 'try it');
  await product.hears(owner, /All tried\./);
  const results = JSON.stringify(product.model.requests[1]?.body);
  expect(results).toMatch(/limits commands of this turn to git \*/);
  expect(results).toMatch(/git version \d/);
  expect(results).toMatch(/limits this turn to exec \(git \*\), job_output, job_list, job_stop, Memory_Recall/);
  expect(results).toMatch(/There is no tool \\"memory_recall\\"/);

  // The next turn is free again.
  product.model.use([{ toolCalls: [{ name: 'memory_save', arguments: { text: 'y' } }] }, { text: 'Saved it.' }]);
  product.telegram.people.says(owner, owner, 'and now');
  await product.hears(owner, /Saved it\./);
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('Remembered: y');

  // The worker dies while it asks the model what to do with the skill.
  product.model.use((_request, index) => {
    if (index === 0) return { toolCalls: [{ name: 'use_skill', arguments: { name: 'git-only' } }] };
    if (index === 1) return { raw: { steps: [], end: 'hang' } };
    return index === 2 ? { toolCalls: [{ name: 'memory_save', arguments: { text: 'z' } }] } : { text: 'Survived it.' };
  });
  product.telegram.people.says(owner, owner, 'once more');
  await product.telegram.waitFor(() => (product.model.requestCount() === 2 ? true : undefined));
  await product.kill('up');
  await product.start('up');
  await product.hears(owner, /Survived it\./, 60_000);
  expect(JSON.stringify(product.model.requests[3]?.body)).not.toContain('Remembered: z');
});

test("skill test runs a skill's own tests in a sandbox and says which failed", async () => {
  await using product = await prepare(folder());
  const good = writeSkill(folder(), 'good', {
    files: {
      'scripts/test-one.sh': 'test "$(id -u)" = 10001 && ! touch /run/host/skills/good/x 2>/dev/null\n',
      'scripts/test_two.py': 'print("two")\n',
    },
  });
  const passed = await product.cli(['skill', 'test', good]);
  expect(passed.stdout).toMatch(/scripts\/test-one\.sh: passed\nscripts\/test_two\.py: passed/);
  expect(passed.code).toBe(0);
  const bad = writeSkill(folder(), 'bad', { files: { 'scripts/test.sh': '#!/bin/bash\necho broken; exit 3\n' } });
  const failed = await product.cli(['skill', 'test', bad]);
  expect(failed.stdout).toMatch(/broken\n[\s\S]*scripts\/test\.sh: failed \(exit code 3\)/);
  expect(failed.code).toBe(1);
  const bundled = await product.cli(['skill', 'test', 'review-a-diff']);
  expect(bundled.stdout).toContain('summarise.sh works');
  expect(bundled.code).toBe(0);
  writeSkill(path.dirname(bad), 'bad', { frontMatter: 'hooks: x\n' });
  const wrong = await product.cli(['skill', 'test', bad]);
  expect(wrong.stdout).toMatch(/bad\/SKILL\.md:4:1 unknown key "hooks"/);
  expect(readFileSync(path.join(bad, 'SKILL.md'), 'utf8')).toContain('hooks: x');
});

test('an agent whose file lists a skill that is not there is not loaded, and the place is named', async () => {
  await using product = await Product.prepare({
    agents: [{ ...agent, frontMatter: agent.frontMatter.replace('skills: all', 'skills: [write-a-raport]') }],
  });
  const { stderr, code } = await product.cli(['agent', 'check']);
  expect(stderr).toMatch(/assistant\.md:5:10 unknown skill "write-a-raport", did you mean "write-a-report"\?/);
  expect(code).toBe(1);
});

test('an owner lets a skill in from the chat after a look at it, and the agent uses it at once', async () => {
  const skills = folder();
  await using product = await prepare(skills);
  await start(product);
  product.telegram.people.says(owner, owner, '/skill add /etc/ssl');
  await product.hears(owner, /There is no folder or archive “\/etc\/ssl” in the project/);
  product.telegram.people.says(owner, owner, '/skill add skills/write-a-report');
  await product.hears(owner, /Let agents that list it use the skill write-a-report\?[\s\S]*SKILL\.md/);
  expect(existsSync(path.join(skills, 'write-a-report'))).toBe(false);
  await product.presses(owner, owner, 'Let it in');
  await product.hears(owner, /write-a-report is trusted/);
  product.telegram.people.says(owner, owner, '/skills');
  await product.hears(owner, /write-a-report \(project, from folder write-a-report\): pinned [0-9a-f]{12}/);
  product.telegram.people.says(owner, owner, 'call: use_skill {"name":"write-a-report"}');
  await product.hears(owner, /Result: [\s\S]*Write a report/);
  const audit = await product.database.query<{ via: string }>(
    `select body ->> 'via' as via from audit_body where body ->> 'kind' = 'skill.added'`,
  );
  expect(audit).toEqual([{ via: 'chat' }]);
});
