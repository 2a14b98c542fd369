import type { Channel } from '#bots/channel.ts';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { Config } from '../config.ts';

/** Every channel with a token, in no particular order. Opening connects to nothing yet. */
export function openChannels(deps: { readonly config: Config; readonly db: Db; readonly log: Log }): Channel[] {
  const { config, log } = deps;
  const channels: Channel[] = [];
  const { telegram } = config;
  if (telegram !== undefined) {
    channels.push(new TelegramChannel({ token: telegram.token, apiRoot: telegram.apiRoot, log }));
  }
  return channels;
}
