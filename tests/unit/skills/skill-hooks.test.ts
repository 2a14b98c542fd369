import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { estimateTextTokens } from '#core/models/estimate-tokens.ts';
import { prepareTrust } from '#core/skills/install-skill.ts';
import { SkillLibrary } from '#core/skills/skill-library.ts';
import { attack } from '#tests/support/attack.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import type { EndedCall } from '#workers/hooks/turn-hooks.ts';
import { createSkillFolders } from '#workers/skills/skill-folders.ts';
import { skillHooks } from '#workers/skills/skill-hooks.ts';
import { useSkillTool } from '#workers/tools/use-skill.ts';
import { hookCall } from '../../support/hook-call.ts';
import { writeSkill } from '../../support/skill-files.ts';

const log = pino({ level: 'silent' });
const signal = new AbortController().signal;
const agent = {
  ...agentFrontMatterSchema.parse({ name: 'assistant', description: 'd', skills: 'all' }),
  prompt: 'p',
  version: 'v',
  source: 's',
};

function stage() {
  const root = mkdtempSync(path.join(tmpdir(), 'sw-skill-hooks-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const project = path.join(root, 'skills');
  const places = { bundled: path.join(root, 'none'), project, agentsFolder: undefined, agentsDir: root, revoked: [] };
  const library = new SkillLibrary(places);
  const folders = createSkillFolders({ log, library, findAgent: async () => agent });
  const hooks = createHooks({ log }, skillHooks({ library, folders, earlierCalls: async () => earlier }));
  const earlier: EndedCall[] = [];
  const add = async (name: string, options: Parameters<typeof writeSkill>[2]): Promise<string> => {
    const folder = writeSkill(project, name, options);
    const known = (await library.list()).find((skill) => skill.name === name);
    if (known === undefined) throw new Error(`there is no ${name}`);
    await (await prepareTrust({ keepFolder: path.join(root, 'kept') }, known)).accept();
    return folder;
  };
  const verdict = async (tool: string, ...ended: readonly EndedCall[]): Promise<string> => {
    const call = hookCall({ agent, tool, args: {}, endedCalls: () => ended });
    const given = await hooks.beforeTool(call, signal);
    return given.action === 'block' ? given.reason : given.action;
  };
  return { library, hooks, add, verdict, earlier };
}

const used = (name: string, rest: Partial<EndedCall> = {}): EndedCall => ({
  tool: 'use_skill',
  args: { name },
  isError: false,
  ...rest,
});

test('a skill in use narrows the turn, one of its files counts, a call of it that failed does not', async () => {
  const { add, verdict } = stage();
  await add('reader', { frontMatter: 'allowed-tools: Read Grep\n' });
  await add('open', {});
  expect(await verdict('exec')).toBe('continue');
  expect(await verdict('exec', used('open'))).toBe('continue');
  expect(await verdict('read_file', used('reader'))).toBe('continue');
  expect(await verdict('exec', used('reader'))).toMatch(/"reader" limits this turn to read_file/);
  expect(await verdict('exec', used('reader', { args: { name: 'reader', file: 'SKILL.md' } }))).toMatch(
    /limits this turn/,
  );
  expect(await verdict('exec', used('reader', { isError: true }))).toBe('continue');
  expect(await verdict('use_skill', used('reader'))).toBe('continue');
});

attack(
  'skills',
  'a turn so long that it forgets the skill’s limits',
  'the record of the turn is asked, not the prompt',
  async () => {
    const { add, hooks, earlier } = stage();
    await add('reader', { frontMatter: 'allowed-tools: Read\n' });
    earlier.push(used('reader'));
    const first = hookCall({ agent, tool: 'exec', args: {} });
    const again = { ...first, work: { ...first.work, attempts: 2 } };
    expect(await hooks.beforeTool(first, signal)).toEqual({ action: 'continue' });
    expect(await hooks.beforeTool(again, signal)).toMatchObject({ action: 'block' });
  },
);

test('two skills in one turn narrow it to what both allow', async () => {
  const { add, verdict } = stage();
  await add('reader', { frontMatter: 'allowed-tools: Read Grep\n' });
  await add('finder', { frontMatter: 'allowed-tools: Grep Bash\n' });
  expect(await verdict('search_files', used('reader'), used('finder'))).toBe('continue');
  expect(await verdict('read_file', used('reader'), used('finder'))).toMatch(/"finder" limits/);
  expect(await verdict('exec', used('reader'), used('finder'))).toMatch(/"reader" limits/);
});

attack('skills', 'a skill changed while it is in use', 'the turn calls nothing any more', async () => {
  const { add, verdict } = stage();
  const folder = await add('reader', { frontMatter: 'allowed-tools: Read\n' });
  appendFileSync(path.join(folder, 'SKILL.md'), 'more');
  expect(await verdict('read_file', used('reader'))).toMatch(/is not available any more/);
  expect(await verdict('read_file')).toBe('continue');
});

test('the catalogue has a line for each skill, names those that are suspended, and stays short', async () => {
  const { add, hooks } = stage();
  await add('long', { frontMatter: `license: ${'x'.repeat(100)}\n`, body: 'b' });
  const folder = await add('bad', {});
  appendFileSync(path.join(folder, 'SKILL.md'), 'more');
  expect(await hooks.context(hookCall({ agent }))).toEqual([
    {
      title: 'Skills',
      text: expect.stringMatching(
        /\n- long: Use it for long\.\nSuspended until an operator has looked at them: bad\.$/,
      ),
    },
  ]);
  expect(await hooks.context(hookCall({ agent: { ...agent, skills: [] } }))).toEqual([]);
  for (let index = 0; index < 70; index++) await add(`s${index}`, {});
  const [section] = await hooks.context(hookCall({ agent }));
  expect(section?.text).toMatch(/- and 11 more that are not shown/);
}, 30_000);

test('instructions that are too long are cut at a line with the place of the rest, and other files are read by name', async () => {
  const { add, library } = stage();
  const body = Array.from({ length: 4_000 }, (_, index) => `Step ${index}: do the next thing well.`).join('\n');
  await add('long', {
    body,
    frontMatter: 'compatibility: Needs git.\nallowed-tools: Read\n',
    files: { 'references/a.md': 'A!', 'scripts/x.sh': 'x' },
  });
  const tool = useSkillTool({ library });
  const context = { agent } as unknown as Parameters<typeof tool.run>[1];
  const { text, isError } = await tool.run({ name: 'long' }, context);
  expect(isError).toBe(false);
  expect(estimateTextTokens(text)).toBeLessThan(5_300);
  expect(text).toMatch(/well\.\n\n\[Cut here: .* The whole text is \/run\/host\/skills\/long\/SKILL\.md\.\]/);
  expect(text).toMatch(
    /made for: Needs git\.[\s\S]*- references\/a\.md \(2 bytes\)\n- scripts\/x\.sh \(1 bytes, executable\)[\s\S]*only these tools may be called: read_file/,
  );
  expect(await tool.run({ name: 'long', file: './references/a.md' }, context)).toEqual({ text: 'A!', isError: false });
  expect(await tool.run({ name: 'long', file: '/run/host/skills/long/references/a.md' }, context)).toMatchObject({
    text: 'A!',
  });
  expect(await tool.run({ name: 'long', file: '../../etc/passwd' }, context)).toMatchObject({
    isError: true,
    text: expect.stringMatching(/no file.*It has: SKILL\.md, references/),
  });
  await expect(tool.run({ name: 'lang' }, context)).rejects.toThrow(/no skill "lang" here, did you mean "long"/);
});
