import type { Command } from 'commander';
import type { CliDeps } from './cli-deps.ts';
import { printLine } from './terminal.ts';

export function addSlack(program: Command, deps: CliDeps): void {
  const slack = program.command('slack').description('set up the Slack app');
  slack
    .command('manifest')
    .description('print the manifest to paste when the app is made or changed on api.slack.com/apps')
    .option('--http', 'receive by web hooks at SWITCHYARD_PUBLIC_URL instead of Socket Mode')
    .action(async (options: { http?: true }) => {
      const manifest = await deps.slackManifest(options.http === true ? 'http' : undefined);
      printLine(deps.terminal, JSON.stringify(manifest, undefined, 2));
    });
}
