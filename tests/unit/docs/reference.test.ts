import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { configFileSchema } from '#app/config-file.ts';
import { noteOf, settingsSchema } from '#app/settings-schema.ts';
import type { CliDeps } from '#cli/cli-deps.ts';
import { buildProgram } from '#cli/program.ts';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { parseAgent } from '#core/agents/parse-agent.ts';
import { commandList } from '#core/commands/command-list.ts';
import { limitNames, limitRow, limitVariable } from '#core/kit/limits.ts';
import { actionNames } from '#core/permissions/actions.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** The rows of the tables below a heading, as the texts of their cells without backticks. */
function rowsBelow(file: string, heading: string): string[][] {
  const section = read(file).split(`\n${heading}\n`)[1]?.split(/^#+ /m)[0] ?? '';
  return section
    .split('\n')
    .filter((line) => /^\| `/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}

/** The first code block of a language below a heading. */
function blockBelow(file: string, heading: string, language: string): string {
  const section = read(file).split(`\n${heading}\n`)[1] ?? '';
  return new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'm').exec(section)?.[1] ?? '';
}

test('the README lists every setting with its default', () => {
  const defaults: Readonly<Record<string, unknown>> = settingsSchema.parse({});
  const settings = Object.keys(settingsSchema.shape).map((name) => [
    name,
    defaults[name] === undefined ? '' : String(defaults[name]),
    noteOf(name).what,
  ]);
  expect(rowsBelow('README.md', '## Settings')).toEqual(settings);
});

test('.env.example names settings that exist, and no value but a default', () => {
  const commented = read('.env.example').replaceAll(/^# ?(?=[A-Z_]+=)/gm, '');
  const known = [...Object.keys(settingsSchema.shape), 'POSTGRES_PASSWORD', 'DOCKER_GROUP'];
  const values = parseEnv(commented);
  expect(Object.keys(values).length).toBeGreaterThan(10);
  expect(Object.keys(values).filter((name) => !known.includes(name))).toEqual([]);
  const defaults: Readonly<Record<string, unknown>> = settingsSchema.parse({});
  const given = Object.entries(values).filter(([, value]) => value !== '');
  expect(given.filter(([name, value]) => String(defaults[name]) !== value)).toEqual([]);
});

test('the operating guide lists every limit with its bounds', () => {
  const limits = limitNames().map((name) => {
    const { default: standard, low, high, unit, what } = limitRow(name);
    return [limitVariable(name), String(standard), `${low} to ${high}`, unit, what];
  });
  expect(rowsBelow('docs/guide/operating.md', '### Limits')).toEqual(limits);
});

test('the example of switchyard.yaml in the operating guide is valid', () => {
  const example: unknown = parse(blockBelow('docs/guide/operating.md', '### switchyard.yaml', 'yaml'));
  expect(configFileSchema.safeParse(example).error?.issues ?? []).toEqual([]);
  expect(Object.keys(Object(example))).toEqual(Object.keys(configFileSchema.shape));
});

test('the chat guide lists every command as help shows it', () => {
  const listed = [...read('docs/guide/chat-commands.md').matchAll(/^- `(\/[^`]+)` (.+)$/gm)];
  expect(listed.map(([, usage, description]) => ({ usage, description }))).toEqual(
    commandList.map(({ usage, description }) => ({ usage, description })),
  );
});

test('the agents guide explains every key, and its example is a valid agent', () => {
  const keys = rowsBelow('docs/guide/agents.md', '## Front matter').map(([key = '']) => key.split('.')[0]);
  expect([...new Set(keys)]).toEqual(Object.keys(agentFrontMatterSchema.shape));
  const { problems } = parseAgent(blockBelow('docs/guide/agents.md', '## A full example', 'markdown'), 'example.md');
  expect(problems).toEqual([]);
});

test('the agents guide lists every action a grant may name', () => {
  expect(rowsBelow('docs/guide/agents.md', '### Actions').map(([name]) => name)).toEqual(actionNames);
});

test('the command line guide has every command with its options', () => {
  const refuse = () => {
    throw new Error('help opens nothing');
  };
  const deps: CliDeps = {
    version: '0',
    installDir: root,
    terminal: { stdout: { write: () => true }, stderr: { write: () => true }, hasColour: false },
    signal: new AbortController().signal,
    start: refuse,
    diagnose: refuse,
    readSettings: refuse,
    openDatabase: refuse,
    findGateway: refuse,
    loadAgents: refuse,
    listTools: refuse,
    slackManifest: refuse,
    readVariables: refuse,
    describeInvalid: refuse,
    openQuestions: refuse,
    readStdin: refuse,
    openKek: refuse,
    openSkills: refuse,
    testSkill: refuse,
    listHooks: async () => [],
    openMcp: refuse,
    checkImage: refuse,
    readBill: refuse,
    openSandboxes: refuse,
  };
  const page = read('docs/guide/command-line.md');
  const missing = leavesOf(buildProgram(deps), '').flatMap(({ name, command }) => {
    const heading = page.split('\n').find((line) => line.startsWith('| `') && line.split('`')[1]?.startsWith(name));
    const options = command.options.map((option) => option.long ?? option.short ?? '');
    if (heading === undefined) return [name];
    return options.filter((option) => !heading.includes(option)).map((option) => `${name} ${option}`);
  });
  expect(missing).toEqual([]);
});

function leavesOf(command: Command, prefix: string): { readonly name: string; readonly command: Command }[] {
  return command.commands.flatMap((child) => {
    const name = `${prefix}${child.name()}`;
    return child.commands.length > 0 ? leavesOf(child, `${name} `) : [{ name, command: child }];
  });
}
