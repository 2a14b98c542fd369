import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { toolNames } from '#app/compose/tools.ts';
import { agentRights, approversOf } from '#core/agents/agent-rights.ts';
import { applyAgents } from '#core/agents/apply-agents.ts';
import { loadAgents } from '#core/agents/load-agents.ts';
import { openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { decide } from '#core/permissions/decide.ts';
import { compileRolePolicies } from '#core/permissions/role-policy.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const bundled = path.resolve(import.meta.dirname, '../../../agents');
let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await openTestDatabase(8);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'agents-'));
  return async () => await rm(folder, { recursive: true });
});

async function write(name: string, front = '', prompt = 'Work.'): Promise<void> {
  await writeFile(
    path.join(folder, `${name}.md`),
    `---\nname: ${name}\ndescription: ${name}.\n${front}---\n${prompt}\n`,
  );
}

test('the bundled agents are right, and do by themselves only what they should', async () => {
  const [assistant, coder] = await loadAgents({ folders: [bundled], knownTools: toolNames });
  if (assistant === undefined || coder === undefined) throw new Error('a bundled agent is missing');
  const owner = compileRolePolicies().owner;
  const effect = (profile: typeof assistant, action: string, resource: string, risk: 'low' | 'medium' | 'high') =>
    decide(agentRights(profile, owner, []), { action, resource, risk, costMicros: 0n, at: new Date() }).effect;
  expect(effect(assistant, 'file.read', 'notes.md', 'low')).toBe('allow');
  expect(effect(assistant, 'memory.write', 'memory', 'low')).toBe('allow');
  expect(effect(assistant, 'file.write', 'notes.md', 'medium')).toBe('ask');
  expect(effect(assistant, 'tool.exec', 'ls', 'low')).toBe('ask');
  expect(effect(assistant, 'tool.exec', 'ls; rm -rf /', 'high')).toBe('deny');
  expect(effect(assistant, 'http.request', 'example.org', 'low')).toBe('deny');
  expect(effect(assistant, 'file.delete', 'notes.md', 'high')).toBe('ask');
  expect(effect(assistant, 'tool.python', 'print(1)', 'medium')).toBe('ask');
  expect(effect(assistant, 'tool.job', 'output', 'low')).toBe('allow');
  expect(effect(coder, 'tool.python', 'print(1)', 'medium')).toBe('allow');
  expect(effect(coder, 'file.delete', 'src/a.ts', 'medium')).toBe('allow');
  expect(effect(coder, 'file.delete', 'src/a.ts', 'high')).toBe('ask');
  expect(effect(coder, 'file.delete', 'api/.env', 'medium')).toBe('ask');
  expect(effect(coder, 'tool.exec', 'npm test', 'medium')).toBe('allow');
  expect(effect(coder, 'tool.exec', 'git push', 'medium')).toBe('ask');
  expect(effect(coder, 'tool.exec', 'curl x | sh', 'high')).toBe('ask');
  expect(effect(coder, 'file.write', 'src/a.ts', 'medium')).toBe('allow');
  expect(effect(coder, 'file.read', 'api/.env', 'low')).toBe('ask');
  expect(approversOf(assistant, [])).toEqual([['role:owner', 'role:admin']]);
});

test('a project agent takes the place of the bundled one of its name', async () => {
  await write('coder', '', 'Ours.');
  const profiles = await loadAgents({ folders: [bundled, folder, path.join(folder, 'missing')] });
  expect(profiles.map((profile) => profile.name)).toEqual(['assistant', 'coder']);
  expect(profiles[1]).toMatchObject({ prompt: 'Ours.', source: path.join(folder, 'coder.md') });
});

test('the problems of all files come in one error, and a README is not an agent', async () => {
  await write('good');
  await write('bad', 'colr: red\n');
  await write('worse', 'grants: [{ allow: nothing }]\n');
  await writeFile(path.join(folder, 'misnamed.md'), '---\nname: other\ndescription: x\naliases: [good]\n---\nx');
  await writeFile(path.join(folder, 'README.md'), 'How to write agents.');
  await expect(loadAgents({ folders: [folder] })).rejects.toMatchObject({
    code: 'agent.invalid',
    message: [
      'The agent files have 4 problems:',
      `${folder}/bad.md:4:1 unknown key "colr", did you mean "colour"?`,
      `${folder}/misnamed.md:1:1 the agent is named "other", so its file is other.md`,
      `${folder}/worse.md:4:19 unknown action "nothing"`,
      `${folder}/misnamed.md:1:1 the alias "good" is taken by ${folder}/good.md`,
    ].join('\n'),
  });
});

test('applying adds, changes and removes agents by content, with their budgets, also from many processes at once', async () => {
  await write('one', 'budget: { daily_usd: 1.5, monthly_usd: 20 }\n');
  await write('two');
  const first = await loadAgents({ folders: [folder] });
  const results = await Promise.all([1, 2, 3].map(async () => await applyAgents(database.db, first)));
  expect(results.filter((result) => result.added.length === 2)).toHaveLength(1);
  expect(results.filter((result) => result.unchanged.length === 2)).toHaveLength(2);
  const limits = async () =>
    await database.query('select scope, period, limit_micros from budget_limit order by period');
  expect(await limits()).toEqual([
    { scope: 'agent:one', period: 'daily', limit_micros: 1_500_000n },
    { scope: 'agent:one', period: 'monthly', limit_micros: 20_000_000n },
  ]);

  await write('one', 'budget: { daily_usd: 3 }\n');
  await rm(path.join(folder, 'two.md'));
  await write('three');
  const second = await applyAgents(database.db, await loadAgents({ folders: [folder] }));
  expect(second).toEqual({ added: ['three'], changed: ['one'], removed: ['two'], unchanged: [] });
  expect(await limits()).toEqual([{ scope: 'agent:one', period: 'daily', limit_micros: 3_000_000n }]);

  await write('two');
  expect((await applyAgents(database.db, await loadAgents({ folders: [folder] }))).added).toEqual(['two']);
});

test('the directory finds agents by name and alias, sees what another process applied, and keeps old versions', async () => {
  await write('one', 'aliases: [First]\n', 'Version 1.');
  await applyAgents(database.db, await loadAgents({ folders: [folder] }));
  // What is known is read again after a second: here that second never comes.
  const now = new Date();
  const clock: Clock = { ...systemClock, now: () => now };
  const directory = openAgentDirectory({ db: database.db, clock });
  const before = await directory.require('ONE');
  expect(await directory.find('first')).toBe(before);
  expect(before).toMatchObject({ prompt: 'Version 1.', autonomy: 'supervised', grantLines: [] });

  await write('one', '', 'Version 2.');
  await applyAgents(database.db, await loadAgents({ folders: [folder] }));
  expect((await directory.require('one')).prompt).toBe('Version 1.');
  directory.refresh();
  expect((await directory.require('one')).prompt).toBe('Version 2.');
  expect((await directory.requireVersion('one', before.version)).prompt).toBe('Version 1.');

  await expect(directory.require('onee')).rejects.toMatchObject({
    code: 'agent.unknown',
    message: 'There is no agent "onee", did you mean "one"?',
    mend: 'There are: one.',
  });
  await expect(directory.requireVersion('one', 'nope')).rejects.toMatchObject({ code: 'agent.unknown' });
});
