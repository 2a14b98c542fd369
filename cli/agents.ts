import type { Command } from 'commander';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { applyAgents } from '#core/agents/apply-agents.ts';
import { openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { systemClock } from '#core/kit/clock.ts';
import type { CliDeps } from './cli-deps.ts';
import type { AgentWishes } from './create-agent.ts';
import { type Cell, printJson, printLine, printTable } from './terminal.ts';

/** Commands about agents: their files and what is in force. */
export function addAgents(program: Command, deps: CliDeps): void {
  const agent = program.command('agent').description('the agents and their files');
  agent
    .command('list')
    .description('show the agents in force')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const agents = await openAgentDirectory({ db: database.db, clock: systemClock }).list();
      if (options.json === true) return printJson(deps.terminal, { agents: agents.map(summary) });
      printTable(
        deps.terminal,
        ['NAME', 'ROLE', 'MODEL', 'AUTONOMY', 'VERSION', 'DESCRIPTION'],
        agents.map((profile) => [
          nameCell(profile),
          profile.role ?? '-',
          profile.model,
          profile.autonomy,
          profile.version.slice(0, 12),
          profile.description,
        ]),
      );
    });
  agent
    .command('show')
    .description('show one agent as it is in force, with its prompt')
    .argument('<name>')
    .action(async (name: string) => {
      await using database = await deps.openDatabase();
      const { prompt, ...profile } = await openAgentDirectory({ db: database.db, clock: systemClock }).require(name);
      printLine(deps.terminal, JSON.stringify(profile, undefined, 2));
      printLine(deps.terminal);
      printLine(deps.terminal, prompt);
    });
  agent
    .command('create')
    .description('write the file of a new agent; at a terminal asks for what is not given')
    .argument('<name>')
    .option('--description <text>', 'what it is for, in one line')
    .option('--model <model>', 'the model, such as openai:<id>; "default" unless told')
    .option('--tools <names>', 'its tools with commas between them, or none; those that only look unless told')
    .option('--prompt <text>', 'its instructions')
    .action(async (name: string, wishes: AgentWishes) => {
      const { createAgent } = await import('./create-agent.ts');
      await createAgent({ ...deps, agentsDir: deps.readSettings().agentsDir }, name, wishes);
    });
  agent
    .command('check')
    .description('check the agent files; changes nothing')
    .action(async () => {
      const profiles = await deps.loadAgents();
      const names = profiles.map((profile) => profile.name).join(', ');
      printLine(deps.terminal, `${profiles.length} agents, no problems: ${names}`);
    });

  program
    .command('apply')
    .description('put the agent files in force')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      // Read before the database is opened: a mistake in a file needs none.
      const profiles = await deps.loadAgents();
      await using database = await deps.openDatabase();
      const result = await applyAgents(database.db, profiles);
      if (options.json === true) return printJson(deps.terminal, result);
      for (const what of ['added', 'changed', 'removed', 'unchanged'] as const) {
        if (result[what].length > 0) printLine(deps.terminal, `${what.padEnd(9)} ${result[what].join(', ')}`);
      }
    });
}

/** Colours of letters; the other words `styleText` knows would hide a name or flood the line. */
const colours = [
  'black',
  'red',
  'green',
  'yellow',
  'blue',
  'magenta',
  'cyan',
  'white',
  'gray',
  'grey',
  'blackBright',
  'redBright',
  'greenBright',
  'yellowBright',
  'blueBright',
  'magentaBright',
  'cyanBright',
  'whiteBright',
] as const;

/** The name in the colour of the profile, plain when a terminal has no colour of that name. */
function nameCell({ name, colour }: AgentProfile): Cell {
  const format = colours.find((known) => known.toLowerCase() === colour?.toLowerCase());
  return format === undefined ? name : { text: name, format };
}

function summary({ name, role, colour, model, autonomy, version, description, source }: AgentProfile) {
  return { name, role, colour, model, autonomy, version, description, source };
}
