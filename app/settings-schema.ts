import { z } from 'zod';
import { isProviderName, type ProviderName, providerOf, providers } from '#core/models/providers.ts';
import { isDockerHosts } from './docker-hosts.ts';

/** What is said about a setting. */
export interface SettingNote {
  readonly what: string;
  readonly mend: string;
  /** Never printed, not even when wrong. URLs of databases count: they carry passwords. */
  readonly isSecret?: true;
}

function note<T extends z.ZodType>(schema: T, about: SettingNote): T {
  return schema.meta({ ...about });
}

const httpUrl = (what: string) =>
  note(z.url({ protocol: /^https?$/ }).optional(), { what, mend: 'Set a URL that begins with http:// or https://.' });
const secret = (what: string) =>
  note(z.string().regex(/^\S+$/, 'holds white space').optional(), {
    what,
    mend: 'Copy the key again, without spaces or line breaks.',
    isSecret: true,
  });

/** Every environment variable the product reads, as text in and typed values out. */
export const settingsSchema = z.object({
  DATABASE_URL: note(z.url({ protocol: /^postgres(ql)?$/ }).optional(), {
    what: 'Postgres 15 or newer; without it the embedded one is used.',
    mend: 'Set it like postgres://user:password@host:5432/name, or remove it to use the embedded database.',
    isSecret: true,
  }),
  REDIS_URL: note(z.url({ protocol: /^rediss?$/ }).optional(), {
    what: 'Redis 6.2 or newer for the queue.',
    mend: 'Set it like redis://host:6379, or remove it to keep the queue in Postgres.',
    isSecret: true,
  }),
  QUEUE_BACKEND: note(z.enum(['redis', 'postgres']).optional(), {
    what: 'What carries the queue; redis when REDIS_URL is set, else postgres.',
    mend: 'Set redis or postgres, or remove it.',
  }),
  SWITCHYARD_DATA_DIR: note(z.string().default('.switchyard/data'), {
    what: 'Folder of the embedded database and of tokens; relative to the project.',
    mend: 'Set a folder that can be written to.',
  }),
  SWITCHYARD_AGENTS_DIR: note(z.string().default('agents'), {
    what: 'Folder of the agent files; relative to the project.',
    mend: 'Set a folder with *.md files.',
  }),
  SWITCHYARD_SKILLS_DIR: note(z.string().default('skills'), {
    what: "Folder of the project's skills; relative to the project.",
    mend: 'Set a folder whose folders have a SKILL.md each.',
  }),
  SWITCHYARD_HOOKS_DIR: note(z.string().default('hooks'), {
    what: "Folder of the project's own hooks (*.ts); hooks.ts beside it counts too. Relative to the project.",
    mend: 'Set a folder with *.ts files.',
  }),
  SWITCHYARD_CONFIG: note(z.string().default('switchyard.yaml'), {
    what: 'File of the settings a team keeps in git; relative to the project.',
    mend: 'Set the path of a YAML file.',
  }),
  SWITCHYARD_HOST: note(
    z
      .string()
      .regex(/^[\w.:-]+$/)
      .default('127.0.0.1'),
    {
      what: 'Address the gateway listens on.',
      mend: 'Set an address such as 127.0.0.1 or 0.0.0.0.',
    },
  ),
  SWITCHYARD_PORT: note(z.coerce.number().int().min(0).max(65_535).default(8420), {
    what: 'Port the gateway listens on; 0 takes any free one.',
    mend: 'Set a whole number from 0 to 65535.',
  }),
  SWITCHYARD_PUBLIC_URL: httpUrl('Address at which the gateway is reached from outside, for web hooks and links.'),
  SWITCHYARD_WORKER_SLOTS: note(z.coerce.number().int().min(1).max(1000).default(32), {
    what: 'Turns one worker runs at the same time.',
    mend: 'Set a whole number from 1 to 1000.',
  }),
  SWITCHYARD_MODEL: note(z.string().optional(), {
    what: 'The default model, as provider:model; without it the first provider with a key, else the built-in demo.',
    mend: 'Set provider:model, for example openai:gpt-5.5, or demo.',
  }),
  TELEGRAM_BOT_TOKEN: note(
    z
      .string()
      .regex(/^\d+:[\w-]+$/)
      .optional(),
    {
      what: 'Token of a Telegram bot.',
      mend: 'Copy the whole token that @BotFather gave you; it looks like 123456789:AAF...',
      isSecret: true,
    },
  ),
  TELEGRAM_API_ROOT: httpUrl('Another Bot API server than https://api.telegram.org.'),
  TELEGRAM_WEBHOOK_SECRET: note(
    z
      .string()
      .regex(/^[\w-]{16,256}$/)
      .optional(),
    {
      what: 'Receive from Telegram by web hook at SWITCHYARD_PUBLIC_URL, proven by this secret, instead of polling.',
      mend: 'Set 16 to 256 letters, digits, - or _, or remove it to poll.',
      isSecret: true,
    },
  ),
  SLACK_BOT_TOKEN: note(
    z
      .string()
      .regex(/^xoxb-[\w-]+$/)
      .optional(),
    {
      what: 'Bot token of a Slack app.',
      mend: 'Copy the "Bot User OAuth Token" of your app; it begins with xoxb-.',
      isSecret: true,
    },
  ),
  SLACK_APP_TOKEN: note(
    z
      .string()
      .regex(/^xapp-[\w-]+$/)
      .optional(),
    {
      what: 'App-level token of a Slack app, for Socket Mode.',
      mend: 'Make one under "Basic Information" with the scope connections:write; it begins with xapp-.',
      isSecret: true,
    },
  ),
  SLACK_SIGNING_SECRET: note(
    z
      .string()
      .regex(/^[0-9a-f]{16,128}$/)
      .optional(),
    {
      what: 'Signing secret of a Slack app, to receive by HTTP at SWITCHYARD_PUBLIC_URL instead of Socket Mode.',
      mend: 'Copy it from "Basic Information"; it is made of digits and the letters a to f.',
      isSecret: true,
    },
  ),
  SLACK_API_URL: httpUrl('Another Slack Web API than https://slack.com/api/.'),
  DISCORD_BOT_TOKEN: note(
    z
      .string()
      .regex(/^[\w-]+\.[\w-]+\.[\w-]+$/)
      .optional(),
    {
      what: 'Token of a Discord bot.',
      mend: 'Press "Reset Token" on the Bot page of your Discord application and copy it whole.',
      isSecret: true,
    },
  ),
  DISCORD_API_URL: httpUrl('Another Discord API than https://discord.com/api.'),
  SWITCHYARD_FILE_CHANNEL: note(z.string().optional(), {
    what: 'Folder of the file channel (JSON lines in and out); relative to the project. Off unless set.',
    mend: 'Set a folder of your own that nobody else may write to.',
  }),
  SMTP_URL: note(z.url({ protocol: /^smtps?$/ }).optional(), {
    what: 'Mail server for e-mails about approvals that nobody decides.',
    mend: 'Set it like smtps://user:password@host:465 or smtp://host:25.',
    isSecret: true,
  }),
  SMTP_FROM: note(z.email().optional(), {
    what: 'Sender of those e-mails.',
    mend: 'Set an e-mail address.',
  }),
  BRAVE_API_KEY: secret('Key for searching the web with Brave; it may also be in the vault, as brave.'),
  BRAVE_API_URL: httpUrl('Another address for Brave than https://api.search.brave.com.'),
  TAVILY_API_KEY: secret('Key for searching the web with Tavily; it may also be in the vault, as tavily.'),
  TAVILY_API_URL: httpUrl('Another address for Tavily than https://api.tavily.com.'),
  SEARXNG_URL: httpUrl('A SearXNG server for searching the web; it may be in your own network.'),
  DOCKER_HOST: note(
    z
      .string()
      .regex(/^(unix:\/\/\/|tcp:\/\/|https?:\/\/)\S+$/)
      .optional(),
    {
      what: 'The Docker engine that runs sandboxes; without it the local socket.',
      mend: 'Set it like unix:///var/run/docker.sock or tcp://host:2375.',
    },
  ),
  DOCKER_HOSTS: note(z.string().refine(isDockerHosts).optional(), {
    what: 'Several Docker engines in place of DOCKER_HOST, as name=address with commas between.',
    mend: 'Set it like here=unix:///var/run/docker.sock,big=tcp://big:2376; see docs/guide/sandbox.md.',
  }),
  DOCKER_CERT_PATH: note(z.string().optional(), {
    what: 'Folder of ca.pem, cert.pem and key.pem, for Docker engines reached by TLS.',
    mend: 'Set an absolute path.',
  }),
  SWITCHYARD_SANDBOX_DISK: note(z.enum(['auto', 'loop', 'quota', 'watched']).default('auto'), {
    what: 'How new workspaces are held to their size; auto takes the firmest way the Docker host has.',
    mend: 'Set auto, loop, quota or watched.',
  }),
  SWITCHYARD_MASTER_KEY_FILE: note(z.string().optional(), {
    what: 'File of the key that seals secrets, readable by its owner alone; without it one in the data directory.',
    mend: 'Set the path of a file that only the user who runs the product can read.',
  }),
  SWITCHYARD_KMS_COMMAND: note(z.string().regex(/\S/).optional(), {
    what: 'Program with arguments that wraps and unwraps keys in a key management service, in place of that file.',
    mend: 'Set a program and its arguments, separated by spaces; it is not run by a shell.',
  }),
  LOG_LEVEL: note(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'), {
    what: 'Least severe log lines to write.',
    mend: 'Set trace, debug, info, warn, error or silent.',
  }),
  SWITCHYARD_RESTARTED_AT: note(
    z
      .string()
      .regex(/^\d{1,12}(,\d{1,12})*$/)
      .optional(),
    {
      what: 'Set by a process that starts itself again for its memory: when it did, in seconds since 1970.',
      mend: 'Remove it.',
    },
  ),
  FAIL_AT: note(z.string().optional(), {
    what: 'Ends the process at a named point, for crash tests.',
    mend: 'Remove it.',
  }),
  ...providerSettings(),
});

/** Keys and base URLs, one pair for each row of the provider table. */
function providerSettings(): Record<string, z.ZodOptional<z.ZodType<string>>> {
  const shape: Record<string, z.ZodOptional<z.ZodType<string>>> = {};
  for (const name of providerNames()) {
    const { title, keyEnv, baseUrlEnv } = providerOf(name);
    if (keyEnv !== undefined) shape[keyEnv] = secret(`Key for ${title}.`);
    if (baseUrlEnv !== undefined) shape[baseUrlEnv] = httpUrl(`Another address for ${title}.`);
  }
  return shape;
}

/** Every provider, in the order of the table. */
export function providerNames(): ProviderName[] {
  return Object.keys(providers).filter(isProviderName);
}

/** The note of a variable the schema knows. */
export function noteOf(name: string): SettingNote {
  const shape: Readonly<Record<string, z.ZodType>> = settingsSchema.shape;
  return shape[name]?.meta() as unknown as SettingNote;
}
