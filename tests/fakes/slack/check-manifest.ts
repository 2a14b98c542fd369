import { z } from 'zod';

/** What Slack answers with "the slash command has an invalid name". */
const builtIn = [
  'away',
  'call',
  'collapse',
  'dnd',
  'expand',
  'feed',
  'invite',
  'join',
  'leave',
  'me',
  'msg',
  'mute',
  'open',
  'remind',
  'remove',
  'search',
  'shrug',
  'status',
  'topic',
  'who',
];

const url = z.string().regex(/^https:\/\/\S+$/);
const command = z.strictObject({
  command: z
    .string()
    .regex(/^\/[a-z0-9-]{1,31}$/)
    .refine((name) => !builtIn.includes(name.slice(1)), 'a command of Slack'),
  description: z.string().min(1).max(2_000),
  usage_hint: z.string().min(1).max(1_000).optional(),
  should_escape: z.boolean().optional(),
  url: url.optional(),
});

/** Fields and limits as in the app manifest reference on docs.slack.dev. */
const manifestSchema = z.strictObject({
  _metadata: z.strictObject({ major_version: z.literal(2), minor_version: z.literal(1) }),
  display_information: z.strictObject({
    name: z.string().min(1).max(35),
    description: z.string().max(140).optional(),
    background_color: z
      .string()
      .regex(/^#[0-9a-f]{3}(?:[0-9a-f]{3})?$/i)
      .optional(),
  }),
  features: z.strictObject({
    app_home: z.strictObject({
      home_tab_enabled: z.boolean(),
      messages_tab_enabled: z.boolean(),
      messages_tab_read_only_enabled: z.boolean(),
    }),
    bot_user: z.strictObject({ display_name: z.string().min(1).max(80), always_online: z.boolean() }),
    agent_view: z
      .strictObject({
        agent_description: z.string().min(1).max(300),
        suggested_prompts: z.array(z.strictObject({ title: z.string().min(1), message: z.string().min(1) })).max(4),
      })
      .optional(),
    slash_commands: z.array(command).max(50),
  }),
  oauth_config: z.strictObject({
    scopes: z.strictObject({ bot: z.array(z.string().regex(/^[a-z_.]+(?::[a-z_.]+)*$/)).max(255) }),
  }),
  settings: z.strictObject({
    event_subscriptions: z.strictObject({ request_url: url.optional(), bot_events: z.array(z.string()).max(100) }),
    interactivity: z.strictObject({ is_enabled: z.boolean(), request_url: url.optional() }),
    org_deploy_enabled: z.boolean(),
    socket_mode_enabled: z.boolean(),
    token_rotation_enabled: z.boolean(),
  }),
});

/** What Slack would complain about in a manifest; an empty list when it takes it. */
export function checkManifest(manifest: unknown): string[] {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) return parsed.error.issues.map(({ path, message }) => `/${path.join('/')}: ${message}`);
  const { settings, features } = parsed.data;
  const problems: string[] = [];
  if (!settings.socket_mode_enabled) {
    if (settings.event_subscriptions.request_url === undefined)
      problems.push('/settings/event_subscriptions needs a request_url');
    if (features.slash_commands.some((item) => item.url === undefined))
      problems.push('/features/slash_commands need a url');
  }
  const names = features.slash_commands.map((item) => item.command);
  if (new Set(names).size !== names.length) problems.push('/features/slash_commands must be unique');
  return problems;
}
