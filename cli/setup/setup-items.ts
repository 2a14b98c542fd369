import { isProviderName, providerOf, providers } from '#core/models/providers.ts';
import {
  checkDiscordToken,
  checkModelKey,
  checkSlackBot,
  checkSlackSocket,
  checkTelegramToken,
  type KeyCheck,
  type SetupValues,
} from './check-key.ts';

/** One secret to ask for. */
export interface SetupKey {
  readonly variable: string;
  readonly question: string;
  check(values: SetupValues): Promise<KeyCheck>;
}

/** One thing a person may connect. */
export interface SetupItem {
  /** In `.env` after "never", and on the command line. */
  readonly name: 'model' | 'telegram' | 'slack' | 'discord';
  readonly title: string;
  readonly why: string;
  /** Where the keys come from. */
  readonly how: string;
  /** All of them are needed; for the model the person chooses one provider first. */
  readonly keys: readonly SetupKey[];
}

/** The providers that take a key, in the order of their table. */
const modelKeys: readonly SetupKey[] = Object.keys(providers)
  .filter(isProviderName)
  .flatMap((name): SetupKey[] => {
    const { keyEnv, title } = providerOf(name);
    if (keyEnv === undefined) return [];
    return [
      { variable: keyEnv, question: `Key for ${title}`, check: async (values) => await checkModelKey(name, values) },
    ];
  });

/** Everything the setup asks for, in order. */
export const setupItems: readonly SetupItem[] = [
  {
    name: 'model',
    title: 'A model',
    why: 'Without one the built-in demo answers, which knows a few phrases.',
    how: 'Make a key on the page of the provider, under "API keys".',
    keys: modelKeys,
  },
  {
    name: 'telegram',
    title: 'Telegram',
    why: 'A bot in your pocket; needs no public address.',
    how: 'Write /newbot to @BotFather; it answers with a token. docs/guide/telegram.md has every step.',
    keys: [{ variable: 'TELEGRAM_BOT_TOKEN', question: 'Bot token', check: checkTelegramToken }],
  },
  {
    name: 'slack',
    title: 'Slack',
    why: 'Mentions, direct messages and approvals in your workspace.',
    how: 'Make an app from the manifest that ./switchyard slack manifest prints. docs/guide/slack.md has every step.',
    keys: [
      { variable: 'SLACK_BOT_TOKEN', question: 'Bot User OAuth Token (xoxb-…)', check: checkSlackBot },
      { variable: 'SLACK_APP_TOKEN', question: 'App-level token for Socket Mode (xapp-…)', check: checkSlackSocket },
    ],
  },
  {
    name: 'discord',
    title: 'Discord',
    why: 'Slash commands, threads and approvals on your server.',
    how: 'Make an application with a bot on discord.com/developers. docs/guide/discord.md has every step.',
    keys: [{ variable: 'DISCORD_BOT_TOKEN', question: 'Bot token', check: checkDiscordToken }],
  },
];
