import type { Channel, Suggest } from '#bots/channel.ts';
import { FileChannel } from '#bots/file/file-channel.ts';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import { openTopicStore } from '#bots/telegram/topic-store.ts';
import { systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { Config } from '../config.ts';

/**
 * Every channel with a token, in no particular order. Opening connects to nothing yet. The platform libraries cost tens of
 * megabytes, so those of a platform without a token are never loaded.
 */
export async function openChannels(deps: {
  readonly config: Config;
  readonly db: Db;
  readonly log: Log;
  readonly suggest: Suggest;
}): Promise<Channel[]> {
  const { config, db, log } = deps;
  const channels: Channel[] = [];
  const { telegram } = config;
  if (telegram !== undefined) {
    const { webhookSecret: secret } = telegram;
    channels.push(
      new TelegramChannel({
        token: telegram.token,
        apiRoot: telegram.apiRoot,
        log,
        topics: (account) => openTopicStore(db, account),
        hasRichMessages: config.hasTelegramRichMessages,
        ...(secret === undefined || config.publicUrl === undefined
          ? {}
          : { webhook: { url: config.publicUrl, secret } }),
      }),
    );
  }
  const { slack } = config;
  if (slack !== undefined) {
    const { SlackChannel } = await import('#bots/slack/slack-channel.ts');
    channels.push(new SlackChannel({ ...slack, hasDmThreads: config.hasSlackDmThreads, log }));
  }
  if (config.fileChannel !== undefined) {
    channels.push(new FileChannel({ db, log, clock: systemClock, folder: config.fileChannel }));
  }
  const { discord } = config;
  if (discord !== undefined) {
    const { DiscordChannel } = await import('#bots/discord/discord-channel.ts');
    const { createPlaceStore } = await import('#bots/discord/place-store.ts');
    channels.push(new DiscordChannel({ ...discord, log, places: createPlaceStore({ db }), suggest: deps.suggest }));
  }
  return channels;
}
