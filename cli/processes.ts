import type { Command } from 'commander';
import type { CliDeps, ProcessMode } from './cli-deps.ts';

const processes: ReadonlyArray<{ readonly name: string; readonly mode: ProcessMode; readonly what: string }> = [
  { name: 'up', mode: 'all', what: 'start everything on this machine: database, gateway and worker' },
  { name: 'gateway', mode: 'gateway', what: 'start only the chat connections and the web pages' },
  { name: 'worker', mode: 'worker', what: 'start only a worker' },
];

/** The commands that run until they are stopped. */
export function addProcesses(program: Command, deps: CliDeps): void {
  for (const { name, mode, what } of processes) {
    program
      .command(name)
      .description(what)
      .action(async () => {
        await deps.start(mode, deps.signal);
      });
  }
}
