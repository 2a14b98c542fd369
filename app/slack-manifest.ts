import { slackManifest } from '#bots/slack/manifest.ts';
import { commandList } from '#core/commands/command-list.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Config } from './config.ts';

/**
 * The manifest as the settings want it: web hooks when asked for, or when only a signing secret is set.
 * @throws AppError `config.invalid` for web hooks without SWITCHYARD_PUBLIC_URL.
 */
export function printableManifest(
  config: Pick<Config, 'slack' | 'publicUrl' | 'hasSlackDmThreads'>,
  mode: 'http' | undefined,
): ReturnType<typeof slackManifest> {
  const isHttp = mode === 'http' || (config.slack !== undefined && config.slack.appToken === undefined);
  if (isHttp && config.publicUrl === undefined) {
    throw new AppError('config.invalid', 'Web hooks need an address that Slack can reach.', {
      mend: 'Set SWITCHYARD_PUBLIC_URL, or use Socket Mode: leave --http out and set SLACK_APP_TOKEN.',
    });
  }
  return slackManifest({
    commands: commandList,
    publicUrl: isHttp ? config.publicUrl : undefined,
    hasDmThreads: config.hasSlackDmThreads,
  });
}
