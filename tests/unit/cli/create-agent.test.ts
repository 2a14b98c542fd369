import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { toolNames } from '#app/compose/tools.ts';
import { loadProjectAgents } from '#app/load-project-agents.ts';
import { defaultPrompt, defaultTools, renderAgentFile } from '#cli/agent-template.ts';
import { type AgentWishes, createAgent } from '#cli/create-agent.ts';
import { ExitCode } from '#cli/exit-code.ts';
import { openQuestions } from '#cli/questions.ts';
import { parseAgent } from '#core/agents/parse-agent.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openFakeTerminal } from '#tests/support/fake-terminal.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'switchyard-agents-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Creates an agent as the command does; with a terminal, somebody can be asked there. */
async function create(
  name: string,
  wishes: AgentWishes = {},
  terminal?: ReturnType<typeof openFakeTerminal>,
): Promise<string> {
  let printed = '';
  const write = (text: string) => {
    printed += text;
    terminal?.stdout.write(text);
  };
  const deps = {
    terminal: { stdout: { write }, stderr: { write }, hasColour: false },
    agentsDir: path.join(folder, 'agents'),
    loadAgents: async () => await loadProjectAgents({ agentsDir: path.join(folder, 'agents') }),
    listTools: async () => toolNames,
    openQuestions: () =>
      terminal &&
      openQuestions({ stdin: terminal.stdin, stdout: terminal.stdout, signal: new AbortController().signal }),
  };
  await createAgent(deps, name, wishes);
  return printed;
}

const read = (name: string) => {
  const file = path.join(folder, 'agents', `${name}.md`);
  const { profile, problems } = parseAgent(readFileSync(file, 'utf8'), file, toolNames);
  expect(problems).toEqual([]);
  return profile;
};
const written = () => readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.md'));

test('where nobody can be asked, a new agent may look into its workspace and nothing else', async () => {
  const printed = await create('reviewer');
  expect(printed).toContain('./switchyard apply');
  expect(printed).toContain('./switchyard chat --agent reviewer');
  const profile = read('reviewer');
  expect(profile).toMatchObject({ model: 'default', autonomy: 'supervised', tools: defaultTools });
  expect(profile?.prompt).toBe(defaultPrompt('reviewer'));
  expect(profile?.grants.map(({ allow, ask, on }) => ({ allow, ask, on }))).toEqual(
    ['file.read', 'file.list', 'file.search'].map((allow) => ({ allow, ask: undefined, on: '/workspace/**' })),
  );
});

test('what is given stands in the file, whatever characters it holds', async () => {
  await create('ops', {
    description: 'Says "no": # and\n\u001b[2J more',
    model: 'openai:gpt-5.5',
    tools: 'exec, read_file,exec',
    prompt: '---\nname: x\n---\nBe brief.',
  });
  expect(read('ops')).toMatchObject({
    description: 'Says "no": # and more',
    model: 'openai:gpt-5.5',
    tools: ['exec', 'read_file'],
    prompt: '---\nname: x\n---\nBe brief.',
    grants: [{ ask: 'tool.exec' }, { allow: 'file.read', on: '/workspace/**' }],
  });
  await create('talker', { tools: 'none' });
  expect(read('talker')).toMatchObject({ tools: [], grants: [] });
});

test('the template has a grant for every tool there is', () => {
  const text = renderAgentFile({
    name: 'all',
    description: 'Everything.',
    model: 'default',
    tools: toolNames,
    prompt: 'x',
  });
  expect(text).not.toContain('Write a grant for');
  expect(parseAgent(text, 'all.md', toolNames)).toMatchObject({ problems: [], profile: { tools: toolNames } });
});

test.each<[string, string, AgentWishes, { code: string; message: string; mend: string }]>([
  [
    'a name in capitals',
    'Bad_Name',
    {},
    { code: 'command.invalid', message: '"Bad_Name" cannot be the name', mend: 'small letter' },
  ],
  [
    'a path for a name',
    '../escape',
    {},
    { code: 'command.invalid', message: 'cannot be the name', mend: 'small letter' },
  ],
  [
    'an unknown tool',
    'ops',
    { tools: 'read_file,exex' },
    { code: 'tool.unknown', message: 'did you mean "exec"?', mend: 'write_file' },
  ],
  [
    'a model nobody makes',
    'ops',
    { model: 'gtp' },
    { code: 'model.unknown', message: '"gtp"', mend: 'provider:model' },
  ],
  ['a name that is an alias', 'dev', {}, { code: 'agent.invalid', message: '"dev" is taken by', mend: 'Mend' }],
])('%s is refused and nothing is written', async (_what, name, wishes, { code, message, mend }) => {
  await expect(create(name, wishes)).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
    mend: expect.stringContaining(mend),
  });
  expect(written()).toEqual([]);
});

test('a file that is there is left as it is', async () => {
  await create('reviewer');
  const file = path.join(folder, 'agents/reviewer.md');
  const before = readFileSync(file, 'utf8');
  await expect(create('reviewer', { description: 'Another.' })).rejects.toMatchObject({
    code: 'command.invalid',
    message: expect.stringContaining('is there already'),
  });
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('an agent with the name of a bundled one says that it takes its place', async () => {
  expect(await create('coder')).toMatch(/takes the place of .*agents\/coder\.md/);
});

test('a folder that cannot be written to is named, with the setting to check', async () => {
  symlinkSync(path.join(folder, 'nowhere/at/all'), path.join(folder, 'agents'));
  await expect(create('reviewer')).rejects.toMatchObject({
    code: 'command.invalid',
    message: expect.stringContaining('reviewer.md cannot be written'),
    mend: expect.stringContaining('SWITCHYARD_AGENTS_DIR'),
  });
});

test('at a terminal it asks for what was not given, and again after a slip', async () => {
  const terminal = openFakeTerminal();
  const created = create('reviewer', { model: 'demo' }, terminal);
  const answer = async (question: string, text: string) => {
    await eventually(() => expect(terminal.text()).toContain(question));
    terminal.type(`${text}\r`);
  };
  await answer('What is it for?', 'Reads pull requests.');
  await answer('Which tools? [read_file, list_files, search_files]', 'read_fil');
  await eventually(() => expect(terminal.text()).toContain('did you mean "read_file"?'));
  await answer('Which tools?', 'read_file');
  await answer('Its instructions', '');
  await created;
  expect(terminal.text()).not.toContain('Model?');
  expect(read('reviewer')).toMatchObject({
    description: 'Reads pull requests.',
    model: 'demo',
    tools: ['read_file'],
    prompt: defaultPrompt('reviewer'),
  });
});

test.each([
  ['Ctrl-C', '\u0003'],
  ['Ctrl-D', '\u0004'],
])('%s at a question ends the command and writes nothing', async (_name, key) => {
  const terminal = openFakeTerminal();
  const created = create('reviewer', {}, terminal);
  await eventually(() => expect(terminal.text()).toContain('What is it for?'));
  terminal.type(key);
  await expect(created).rejects.toEqual(new ExitCode(130));
  expect(written()).toEqual([]);
  expect(terminal.isRawMode).toBe(false);
});
