import { Command } from 'commander';
import { addAgents } from './agents.ts';
import { addApprovals } from './approvals.ts';
import { addAudit } from './audit.ts';
import { addChat } from './chat-command.ts';
import type { CliDeps } from './cli-deps.ts';
import { addConfig } from './config.ts';
import { addCosts } from './costs.ts';
import { addDeveloper } from './developer.ts';
import { addDoctor } from './doctor.ts';
import { addPeople } from './people.ts';
import { addProcesses } from './processes.ts';
import { addSessions } from './sessions.ts';

/** The whole command line. Nothing is read or opened before a command runs. */
export function buildProgram(deps: CliDeps): Command {
  const { terminal } = deps;
  const program = new Command('switchyard')
    .description('AI agents that work from chat: durable lanes, approvals, budgets and sandboxes')
    .version(deps.version)
    .helpCommand(true)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      getOutHasColors: () => terminal.hasColour,
      getErrHasColors: () => terminal.hasColour,
    });
  addProcesses(program, deps);
  addChat(program, deps);
  addPeople(program, deps);
  addAgents(program, deps);
  addSessions(program, deps);
  addApprovals(program, deps);
  addAudit(program, deps);
  addCosts(program, deps);
  addDoctor(program, deps);
  addConfig(program, deps);
  addDeveloper(program, deps);
  return program;
}
