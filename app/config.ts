import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';
import type { z } from 'zod';
import type { StuckPolicy } from '#core/approvals/handle-stuck.ts';
import { parseDuration } from '#core/kit/duration.ts';
import { AppError } from '#core/kit/errors.ts';
import { type LimitClamp, type Limits, limitNames, limitVariable, resolveLimits } from '#core/kit/limits.ts';
import { nearestWord } from '#core/kit/nearest-word.ts';
import { type McpServer, toMcpServers } from '#core/mcp/mcp-server.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import type { TokenRates } from '#core/models/price.ts';
import type { ProviderSettings } from '#core/models/providers.ts';
import type { ChannelAccess } from '#core/people/access.ts';
import type { KnownSecret } from '#core/redaction/secret-book.ts';
import type { WebhookEndpoint } from '#core/webhooks/webhook.ts';
import type { SearchSettings } from '#workers/egress/search-engines.ts';
import type { DockerHostSetting } from '#workers/sandbox/docker-host.ts';
import type { DiskChoice } from '#workers/sandbox/workspace-disks.ts';
import { type ConfigFile, readConfigFile } from './config-file.ts';
import { readDockerHosts } from './docker-hosts.ts';
import { type HookSettings, readHooks } from './hook-settings.ts';
import { type ImageModel, readImageModel, readModel, readPrices, readProviders } from './model-settings.ts';
import { noteOf, settingsSchema } from './settings-schema.ts';

/** Every setting, parsed; nothing else in the product reads the environment. */
export interface Config {
  /** The folder of `switchyard.yaml`, `.env` and `agents/`. */
  readonly projectDir: string;
  readonly dataDir: string;
  readonly agentsDir: string;
  readonly skills: {
    /** Of the project. */
    readonly folder: string;
    /** Whether `.agents/skills` of the project is looked into. */
    readonly usesAgentsFolder: boolean;
    readonly revoked: readonly string[];
  };
  readonly hooks: HookSettings;
  /** Absent: the embedded database. */
  readonly databaseUrl: string | undefined;
  readonly redisUrl: string | undefined;
  readonly queueBackend: 'redis' | 'postgres';
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Where the gateway is reached from outside. */
  readonly publicUrl: string | undefined;
  readonly telegram:
    | { readonly token: string; readonly apiRoot: string | undefined; readonly webhookSecret: string | undefined }
    | undefined;
  /** Telegram is sent real tables, headings and task lists where its server knows them. */
  readonly hasTelegramRichMessages: boolean;
  /** One of `appToken` (Socket Mode) and `signingSecret` (HTTP) is set. */
  readonly slack:
    | {
        readonly botToken: string;
        readonly appToken: string | undefined;
        readonly signingSecret: string | undefined;
        readonly apiUrl: string | undefined;
      }
    | undefined;
  /** Each direct message to the bot in Slack begins a thread, as in Slack's agent view. */
  readonly hasSlackDmThreads: boolean;
  readonly discord: { readonly token: string; readonly apiUrl: string | undefined } | undefined;
  /** Absolute folder of the file channel. */
  readonly fileChannel: string | undefined;
  /** Who each channel works for. */
  readonly access: Readonly<Record<'telegram' | 'slack' | 'discord', ChannelAccess>>;
  readonly providers: ProviderSettings;
  readonly defaultModel: ModelRef;
  /** Draws pictures; undefined where the operator set none. */
  readonly imageModel: ImageModel | undefined;
  /** Micro-USD per million tokens by `provider:model`. */
  readonly prices: Readonly<Record<string, TokenRates>>;
  readonly defaultAgent: string;
  readonly approvals: StuckPolicy & {
    /** Targets that see every request; undefined: those who may decide, when whoever asked may not. */
    readonly notify: readonly string[] | undefined;
  };
  /** Targets of `/announce`. */
  readonly announceTo: readonly string[];
  readonly webhooks: readonly WebhookEndpoint[];
  /** MCP servers agents may use, by name. */
  readonly mcpServers: ReadonlyMap<string, McpServer>;
  readonly mail: { readonly url: string; readonly from: string } | undefined;
  /** Addresses that agents may reach although they are not public, and may not although they are. */
  readonly egress: { readonly open: readonly string[]; readonly closed: readonly string[] };
  readonly search: SearchSettings;
  /** The Docker engines that run sandboxes; one, unless several are named. */
  readonly dockerHosts: readonly DockerHostSetting[];
  readonly sandboxDisk: DiskChoice;
  /** Where the key that seals secrets is: a file (`mayCreate` where nothing was set), or a program that keeps it. */
  readonly vault:
    | { readonly kind: 'file'; readonly file: string; readonly mayCreate: boolean }
    | { readonly kind: 'command'; readonly command: readonly string[] };
  /** The values of every secret setting, to be taken out of what is said. */
  readonly secrets: readonly KnownSecret[];
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Name of the failpoint that ends this process, for crash tests. */
  readonly failAt: string | undefined;
  /** When this process started itself again for its memory, oldest first. */
  readonly restartedAt: readonly Date[];
  /** Turns one worker runs at the same time. */
  readonly workerSlots: number;
  readonly limits: Limits;
  readonly limitClamps: readonly LimitClamp[];
  /** Each variable and where its value comes from, without the values of secrets. */
  readonly settings: readonly SettingReport[];
}

interface SettingReport {
  readonly name: string;
  readonly what: string;
  /** `set` for a secret, its text otherwise, undefined when the default is in use. */
  readonly value: string | undefined;
  readonly source: 'environment' | '.env' | 'default';
}

/** Shorter secrets of web hooks could be guessed. */
const webhookSecretChars = 16;

/** The folder the product is installed in. */
export const installDir = path.resolve(import.meta.dirname, '..');

/**
 * Reads the environment, `.env` (which the environment overrides) and `switchyard.yaml`. An empty variable counts as
 * not set, because that is what compose files and CI systems pass for one.
 * @throws AppError `config.invalid` that lists everything that is wrong, each with its mend, and no secret.
 */
export function loadConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
  projectDir: string = installDir,
): Config {
  const problems: string[] = [];
  const values = readVariables(env, path.join(projectDir, '.env'), problems);
  const raw = Object.fromEntries([...values].map(([name, { value }]) => [name, value]));
  const parsed = settingsSchema.safeParse(raw);
  const wrong = new Set<string>();
  for (const issue of parsed.error?.issues ?? []) wrong.add(String(issue.path[0]));
  for (const name of wrong) problems.push(describeWrong(name, raw[name]));
  // The rest is checked even when something is wrong already: one message for all of it.
  const settings = settingsSchema.parse(omit(raw, wrong));
  const extra: Readonly<Record<string, unknown>> = settings;
  const text = (name: string | undefined): string | undefined => {
    const value = name === undefined ? undefined : extra[name];
    return typeof value === 'string' ? value : undefined;
  };

  const file = readConfigFile(path.resolve(projectDir, settings.SWITCHYARD_CONFIG));
  problems.push(...file.problems);
  const { limits, clamps } = readLimits(raw, problems);
  reportUnknown(Object.keys(raw), problems);
  if (settings.QUEUE_BACKEND === 'redis' && settings.REDIS_URL === undefined && !wrong.has('REDIS_URL')) {
    problems.push('QUEUE_BACKEND is redis, but REDIS_URL is not set. Set REDIS_URL, or remove QUEUE_BACKEND.');
  }
  reportChannelGaps(settings, wrong, problems);
  const providerSettings = readProviders(file.value, text, problems);
  const defaultModel = readModel(settings.SWITCHYARD_MODEL ?? file.value.models.default, providerSettings, problems);
  const webhooks = readWebhooks(file.value, raw, problems);
  reportMailGaps(settings, wrong, file.value, problems);
  if (settings.SWITCHYARD_MASTER_KEY_FILE !== undefined && settings.SWITCHYARD_KMS_COMMAND !== undefined) {
    problems.push(
      'SWITCHYARD_MASTER_KEY_FILE and SWITCHYARD_KMS_COMMAND are both set, but secrets are sealed by one of them. Remove the other.',
    );
  }
  if (problems.length > 0) throw invalid(problems);

  return {
    projectDir,
    dataDir: path.resolve(projectDir, settings.SWITCHYARD_DATA_DIR),
    agentsDir: path.resolve(projectDir, settings.SWITCHYARD_AGENTS_DIR),
    skills: {
      folder: path.resolve(projectDir, settings.SWITCHYARD_SKILLS_DIR),
      usesAgentsFolder: file.value.skills.agents_folder,
      revoked: file.value.skills.revoked,
    },
    hooks: readHooks(file.value, {
      projectDir,
      hooksDir: settings.SWITCHYARD_HOOKS_DIR,
      dataDir: settings.SWITCHYARD_DATA_DIR,
    }),
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    queueBackend: settings.QUEUE_BACKEND ?? (settings.REDIS_URL === undefined ? 'postgres' : 'redis'),
    host: settings.SWITCHYARD_HOST,
    port: settings.SWITCHYARD_PORT,
    publicUrl: settings.SWITCHYARD_PUBLIC_URL,
    telegram:
      settings.TELEGRAM_BOT_TOKEN === undefined || !file.value.channels.telegram.enabled
        ? undefined
        : {
            token: settings.TELEGRAM_BOT_TOKEN,
            apiRoot: settings.TELEGRAM_API_ROOT,
            webhookSecret: settings.TELEGRAM_WEBHOOK_SECRET,
          },
    hasTelegramRichMessages: file.value.channels.telegram.rich_messages,
    slack:
      settings.SLACK_BOT_TOKEN === undefined || !file.value.channels.slack.enabled
        ? undefined
        : {
            botToken: settings.SLACK_BOT_TOKEN,
            appToken: settings.SLACK_APP_TOKEN,
            signingSecret: settings.SLACK_SIGNING_SECRET,
            apiUrl: settings.SLACK_API_URL,
          },
    hasSlackDmThreads: file.value.channels.slack.direct_messages === 'threads',
    discord:
      settings.DISCORD_BOT_TOKEN === undefined || !file.value.channels.discord.enabled
        ? undefined
        : { token: settings.DISCORD_BOT_TOKEN, apiUrl: settings.DISCORD_API_URL },
    fileChannel:
      settings.SWITCHYARD_FILE_CHANNEL === undefined
        ? undefined
        : path.resolve(projectDir, settings.SWITCHYARD_FILE_CHANNEL),
    access: {
      telegram: readAccess(file.value.channels.telegram),
      slack: readAccess(file.value.channels.slack),
      discord: readAccess(file.value.channels.discord),
    },
    providers: providerSettings,
    defaultModel,
    imageModel: readImageModel(file.value, defaultModel, problems),
    prices: readPrices(file.value),
    defaultAgent: file.value.defaults.agent,
    approvals: readApprovals(file.value),
    announceTo: file.value.announcements.to,
    webhooks,
    mcpServers: toMcpServers(file.value.mcp.servers, (folder) => path.resolve(projectDir, folder)),
    egress: file.value.egress,
    search: {
      brave: { key: settings.BRAVE_API_KEY, url: settings.BRAVE_API_URL },
      tavily: { key: settings.TAVILY_API_KEY, url: settings.TAVILY_API_URL },
      searxng: { url: settings.SEARXNG_URL },
    },
    mail: settings.SMTP_URL === undefined ? undefined : { url: settings.SMTP_URL, from: settings.SMTP_FROM ?? '' },
    dockerHosts: readDockerHosts(settings.DOCKER_HOST, settings.DOCKER_HOSTS, settings.DOCKER_CERT_PATH),
    sandboxDisk: settings.SWITCHYARD_SANDBOX_DISK,
    vault: readVault(settings, projectDir),
    secrets: [
      ...secretSettings(values),
      ...webhooks.map(({ url, secret }) => ({ label: `the web hook secret for ${new URL(url).host}`, value: secret })),
    ],
    logLevel: settings.LOG_LEVEL,
    failAt: settings.FAIL_AT,
    restartedAt: (settings.SWITCHYARD_RESTARTED_AT?.split(',') ?? []).map((text) => new Date(Number(text) * 1000)),
    workerSlots: settings.SWITCHYARD_WORKER_SLOTS,
    limits,
    limitClamps: clamps,
    settings: Object.keys(settingsSchema.shape).map((name) => report(name, values.get(name))),
  };
}

function readVault(settings: z.infer<typeof settingsSchema>, projectDir: string): Config['vault'] {
  const command = settings.SWITCHYARD_KMS_COMMAND?.trim().split(/\s+/);
  if (command !== undefined) return { kind: 'command', command };
  const file = settings.SWITCHYARD_MASTER_KEY_FILE;
  return file === undefined
    ? { kind: 'file', file: path.resolve(projectDir, settings.SWITCHYARD_DATA_DIR, 'master-key'), mayCreate: true }
    : { kind: 'file', file: path.resolve(projectDir, file), mayCreate: false };
}

function readApprovals(file: ConfigFile): Config['approvals'] {
  const { notify, remind_after, escalate_after, escalate_to, email } = file.approvals;
  return {
    notify,
    remindAfterMs: parseDuration(remind_after),
    escalateAfterMs: escalate_after === undefined ? undefined : parseDuration(escalate_after),
    escalateTo: escalate_to,
    emails: email,
  };
}

/** Secrets are in the environment only, so that none gets committed with the file. */
function readWebhooks(
  file: ConfigFile,
  raw: Readonly<Record<string, string>>,
  problems: string[],
): readonly WebhookEndpoint[] {
  return file.webhooks.map(({ url, events, secret_env, allow_private }) => {
    const secret = raw[secret_env] ?? '';
    if (secret.length < webhookSecretChars) {
      problems.push(
        `switchyard.yaml: webhooks: ${secret_env} ${secret === '' ? 'is not set' : 'is too short'}. Set it to at least ${webhookSecretChars} random characters; the receiver checks signatures with it.`,
      );
    }
    return { url, events, secret, allowsPrivate: allow_private };
  });
}

/** Settings about stuck approvals that would do nothing. */
function reportMailGaps(
  settings: z.infer<typeof settingsSchema>,
  wrong: ReadonlySet<string>,
  { approvals }: ConfigFile,
  problems: string[],
): void {
  const lacks = (name: 'SMTP_URL' | 'SMTP_FROM'): boolean => settings[name] === undefined && !wrong.has(name);
  if (approvals.email.length > 0 && lacks('SMTP_URL')) {
    problems.push(
      'approvals.email is set, but SMTP_URL is not. Set SMTP_URL and SMTP_FROM, or remove approvals.email.',
    );
  }
  if (settings.SMTP_URL !== undefined && lacks('SMTP_FROM')) {
    problems.push('SMTP_URL is set, but SMTP_FROM is not. Set SMTP_FROM to the address mails come from.');
  }
  if (approvals.escalate_to.length > 0 && approvals.escalate_after === undefined) {
    problems.push(
      'approvals.escalate_to is set, but approvals.escalate_after is not. Set it like escalate_after: 20m, or remove escalate_to.',
    );
  }
}

function readAccess({ allow, rooms }: Pick<ConfigFile['channels']['telegram'], 'allow' | 'rooms'>): ChannelAccess {
  const { accounts, people, roles, dm, group, channel, requests } = allow;
  return {
    accounts,
    people,
    roles,
    rooms: allow.rooms,
    modes: { dm, group, channel },
    roomSettings: rooms,
    asksOwners: requests,
  };
}

/** Settings of one channel that make no sense without another. */
function reportChannelGaps(
  settings: z.infer<typeof settingsSchema>,
  wrong: ReadonlySet<string>,
  problems: string[],
): void {
  const lacks = (name: keyof typeof settings): boolean => settings[name] === undefined && !wrong.has(name);
  if (settings.SLACK_BOT_TOKEN !== undefined && lacks('SLACK_APP_TOKEN') && lacks('SLACK_SIGNING_SECRET')) {
    problems.push(
      'SLACK_BOT_TOKEN is set, but nothing to receive with. Set SLACK_APP_TOKEN (Socket Mode), or SLACK_SIGNING_SECRET and SWITCHYARD_PUBLIC_URL (HTTP).',
    );
  }
  for (const name of ['SLACK_APP_TOKEN', 'SLACK_SIGNING_SECRET'] as const) {
    if (settings[name] !== undefined && lacks('SLACK_BOT_TOKEN')) {
      problems.push(`${name} is set, but SLACK_BOT_TOKEN is not. Set SLACK_BOT_TOKEN, or remove ${name}.`);
    }
  }
  if (settings.TELEGRAM_WEBHOOK_SECRET !== undefined && lacks('SWITCHYARD_PUBLIC_URL')) {
    problems.push(
      'TELEGRAM_WEBHOOK_SECRET is set, but SWITCHYARD_PUBLIC_URL is not. Set the address Telegram can reach, or remove the secret to poll.',
    );
  }
}

/** Starts that are remembered: more than any hour has. */
const restartsKept = 64;

/** The environment of this process for one that takes its place now, in which it finds when that was. */
export function environmentOfNext(
  config: Pick<Config, 'restartedAt'>,
  now: Date,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const starts = [...config.restartedAt, now].slice(-restartsKept);
  const own = { SWITCHYARD_RESTARTED_AT: starts.map((at) => Math.floor(at.getTime() / 1000)).join(',') };
  const kept = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  return { ...Object.fromEntries(kept), ...own };
}

/** Every variable that is set, right or wrong, and the file beside the environment that they come from. */
export function readSetVariables(
  env: Readonly<Record<string, string | undefined>> = process.env,
  projectDir: string = installDir,
): { readonly envFile: string; readonly values: ReadonlyMap<string, Variable> } {
  const envFile = path.join(projectDir, '.env');
  const problems: string[] = [];
  const values = readVariables(env, envFile, problems);
  if (problems.length > 0) throw invalid(problems);
  return { envFile, values };
}

/** Values that must not be seen, of settings that may be wrong themselves; of an address only its password. */
export function secretSettings(values: ReadonlyMap<string, Variable>): readonly KnownSecret[] {
  return [...values].flatMap(([name, { value }]) => {
    if (!(name in settingsSchema.shape) || noteOf(name).isSecret !== true) return [];
    const texts = passwordsOf(value) ?? [value];
    // A plain word, as in many a test set-up, would be taken out of every sentence with that word.
    return texts.filter((text) => !/^[a-z_-]{0,19}$/i.test(text)).map((text) => ({ label: name, value: text }));
  });
}

/** Of an address its password, as it is written there and as it is; undefined for anything else. */
function passwordsOf(value: string): readonly string[] | undefined {
  if (!URL.canParse(value) || !value.includes('://')) return undefined;
  const { password } = new URL(value);
  try {
    return [...new Set([password, decodeURIComponent(password)])];
  } catch {
    return [password];
  }
}

/** Why a text cannot be the value of a setting; undefined when it can. */
export function describeInvalidSetting(name: string, value: string): string | undefined {
  const parsed = settingsSchema.partial().safeParse({ [name]: value });
  return parsed.success ? undefined : describeWrong(name, value);
}

interface Variable {
  readonly value: string;
  readonly source: 'environment' | '.env';
}

function readVariables(
  env: Readonly<Record<string, string | undefined>>,
  file: string,
  problems: string[],
): Map<string, Variable> {
  const values = new Map<string, Variable>();
  try {
    const lines = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {};
    for (const [name, value] of Object.entries(lines)) {
      if (value !== undefined && value !== '') values.set(name, { value, source: '.env' });
    }
  } catch (err) {
    problems.push(`${file} cannot be read: ${err instanceof Error ? err.message : String(err)}.`);
  }
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && value !== '') values.set(name, { value, source: 'environment' });
  }
  return values;
}

function describeWrong(name: string, value: string | undefined): string {
  const { mend, isSecret } = noteOf(name);
  const shown = isSecret === true || value === undefined ? '' : ` ("${value.slice(0, 80)}")`;
  return `${name}${shown} is not valid. ${mend}`;
}

function report(name: string, variable: Variable | undefined): SettingReport {
  const { what, isSecret } = noteOf(name);
  const value = variable === undefined ? undefined : isSecret === true ? 'set' : variable.value;
  return { name, what, value, source: variable?.source ?? 'default' };
}

function omit(raw: Readonly<Record<string, string>>, names: ReadonlySet<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(raw).filter(([name]) => !names.has(name)));
}

function readLimits(raw: Readonly<Record<string, string>>, problems: string[]) {
  const overrides: Record<string, number> = {};
  for (const name of limitNames()) {
    const variable = limitVariable(name);
    const value = raw[variable];
    if (value === undefined) continue;
    if (/^\d+$/.test(value)) overrides[name] = Number(value);
    else problems.push(`${variable} ("${value.slice(0, 80)}") is not a whole number. See ./switchyard config limits.`);
  }
  return resolveLimits(overrides);
}

/** A misspelt variable would otherwise be ignored without a word. Only our own prefix is ours to judge. */
function reportUnknown(names: readonly string[], problems: string[]): void {
  const known = [...Object.keys(settingsSchema.shape), ...limitNames().map(limitVariable), 'SWITCHYARD_YES'];
  for (const name of names) {
    if (!name.startsWith('SWITCHYARD_') || known.includes(name)) continue;
    const near = nearestWord(name, known);
    problems.push(`${name} is not a setting. ${near === undefined ? 'Remove it.' : `Did you mean ${near}?`}`);
  }
}

function invalid(problems: readonly string[]): AppError {
  const head = problems.length === 1 ? 'A setting is wrong:' : `${problems.length} settings are wrong:`;
  return new AppError('config.invalid', `${head}\n${problems.map((problem) => `  - ${problem}`).join('\n')}`, {
    mend: 'Correct them in the environment, .env or switchyard.yaml, then run ./switchyard config check.',
  });
}

/** Whether errors are shown with their stack; read without the rest, which may be what is wrong. */
export function hasDebugOutput(): boolean {
  return process.env['LOG_LEVEL'] === 'debug' || process.env['LOG_LEVEL'] === 'trace';
}
