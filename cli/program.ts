import { Command } from 'commander';
import { addChat } from './chat-command.ts';
import type { CliDeps } from './cli-deps.ts';
import { addConfig } from './config.ts';
import { addDeveloper } from './developer.ts';
import { addDoctor } from './doctor.ts';
import { addProcesses } from './processes.ts';

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
  addDoctor(program, deps);
  addConfig(program, deps);
  addDeveloper(program, deps);
  return program;
}
