import type { CommandHelp } from '#core/commands/command-list.ts';
import { hookPath } from './receive-http.ts';
import { eventScopes, requiredScopes } from './slack-methods.ts';
import { slashPrefix } from './slash-prefix.ts';

export interface ManifestOptions {
  readonly commands: readonly CommandHelp[];
  /** Undefined: Socket Mode. Otherwise the address at which the gateway is reached from outside. */
  readonly publicUrl: string | undefined;
  /** Shows direct messages as conversations with an agent, each a thread of its own. */
  readonly hasDmThreads: boolean;
}

/**
 * Commands of Slack itself: a manifest that names one of them is refused as a whole. Ours of that name get a prefix.
 * Source: Slack's help on its built-in commands.
 */
const builtIn: ReadonlySet<string> = new Set(
  (
    'active apps archive away call collapse dm dnd expand feed feedback invite join keys kick leave me msg mute open ' +
    'prefs pro remind remove rename search shortcuts shrug star status topic who'
  ).split(' '),
);
const commandsMax = 50;
const descriptionMax = 2_000;
const hintMax = 1_000;

/**
 * The app manifest: everything a person would otherwise click together, from the very tables the channel works by.
 * Source: the app manifest reference on docs.slack.dev.
 */
export function slackManifest({ commands, publicUrl, hasDmThreads }: ManifestOptions) {
  const url = publicUrl === undefined ? undefined : `${publicUrl.replace(/\/+$/, '')}/hooks/${hookPath}`;
  const address = url === undefined ? {} : { request_url: url };
  return {
    _metadata: { major_version: 2, minor_version: 1 },
    display_information: {
      name: 'Switchyard',
      description: 'AI agents that work from chat, with approvals and budgets',
      background_color: '#1d2b3a',
    },
    features: {
      app_home: { home_tab_enabled: true, messages_tab_enabled: true, messages_tab_read_only_enabled: false },
      bot_user: { display_name: 'Switchyard', always_online: true },
      ...(hasDmThreads
        ? {
            agent_view: {
              agent_description: 'Ask me for work: I use tools, ask before anything risky, and answer here.',
              suggested_prompts: [
                { title: 'What can you do?', message: 'What can you do for me?' },
                { title: 'Who works here?', message: 'Which agents are there, and what is each good at?' },
              ],
            },
          }
        : {}),
      slash_commands: commands.slice(0, commandsMax).map(({ name, usage, description }) => ({
        command: `/${slashNameOf(name)}`,
        description: description.slice(0, descriptionMax),
        ...hintOf(name, usage),
        // People and channels then come with their ids.
        should_escape: true,
        ...(url === undefined ? {} : { url }),
      })),
    },
    oauth_config: {
      scopes: { bot: hasDmThreads ? [...requiredScopes(), 'assistant:write'].sort() : requiredScopes() },
    },
    settings: {
      event_subscriptions: { ...address, bot_events: Object.keys(eventScopes) },
      interactivity: { is_enabled: true, ...address },
      org_deploy_enabled: false,
      socket_mode_enabled: url === undefined,
      token_rotation_enabled: false,
    },
  };
}

/** What a command is called in Slack's own menu. */
function slashNameOf(name: string): string {
  return builtIn.has(name) ? `${slashPrefix}${name}` : name;
}

function hintOf(name: string, usage: string): { readonly usage_hint?: string } {
  const hint = usage.replace(new RegExp(`^/${name}\\s*`), '').slice(0, hintMax);
  return hint === '' ? {} : { usage_hint: hint };
}
