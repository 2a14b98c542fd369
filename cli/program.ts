import { Command } from 'commander';
import { addAgents } from './agents.ts';
import { addApprovals } from './approvals.ts';
import { addAudit } from './audit.ts';
import { addBroadcast } from './broadcast.ts';
import { addChannels } from './channels.ts';
import { addChat } from './chat-command.ts';
import type { CliDeps } from './cli-deps.ts';
import { addConfig } from './config.ts';
import { addCosts } from './costs.ts';
import { addDeveloper } from './developer.ts';
import { addDoctor } from './doctor.ts';
import { addMcp } from './mcp.ts';
import { addOutbox } from './outbox.ts';
import { addPeople } from './people.ts';
import { addProcesses } from './processes.ts';
import { addSandbox } from './sandbox.ts';
import { addSessions } from './sessions.ts';
import { addSetup } from './setup/setup.ts';
import { addSkill } from './skill.ts';
import { addSlack } from './slack.ts';
import { addVault } from './vault.ts';
import { addWebhooks } from './webhooks.ts';

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
  addSetup(program, deps);
  addChat(program, deps);
  addPeople(program, deps);
  addChannels(program, deps);
  addAgents(program, deps);
  addSessions(program, deps);
  addApprovals(program, deps);
  addMcp(program, deps);
  addBroadcast(program, deps);
  addWebhooks(program, deps);
  addVault(program, deps);
  addAudit(program, deps);
  addOutbox(program, deps);
  addCosts(program, deps);
  addSkill(program, deps);
  addSlack(program, deps);
  addDoctor(program, deps);
  addConfig(program, deps);
  addSandbox(program, deps);
  addDeveloper(program, deps);
  return program;
}
