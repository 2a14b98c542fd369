import { pino } from 'pino';
import type { Finding } from '#cli/finding.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { providerOf } from '#core/models/providers.ts';
import { listHooks } from '../compose/open-hooks.ts';
import { openSkills } from '../compose/open-skills.ts';
import type { Config } from '../config.ts';
import { checkDatabase } from './check-database.ts';
import { checkDiscord } from './check-discord.ts';
import { checkFileChannel } from './check-file-channel.ts';
import { checkDataDir, checkDisk, checkNode, checkPort } from './check-machine.ts';
import { checkSlack } from './check-slack.ts';
import { checkTelegram } from './check-telegram.ts';
import { checkVault } from './check-vault.ts';
import { probeRedis } from './probe-redis.ts';

export interface DoctorDeps {
  /** Throws the one error that lists all wrong settings. */
  readonly loadConfig: () => Config;
  readonly checkSandbox: (config: Config) => Promise<{
    readonly ok: boolean;
    readonly detail: string;
    readonly mend?: string;
  }>;
}

const redisMs = 5_000;
/** What hooks print while they are looked at is of no interest here. */
const silent = pino({ level: 'silent' });

/** Looks at everything the product needs, all at once, and changes nothing. */
export async function diagnose(deps: DoctorDeps): Promise<Finding[]> {
  let config: Config;
  try {
    config = deps.loadConfig();
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    return [checkNode(), { name: 'Settings', status: 'broken', detail: err.message, ...mendOf(err) }];
  }
  return await Promise.all([
    guard('Node', () => checkNode()),
    guard('Settings', () => ({ name: 'Settings', status: 'ok', detail: 'valid' })),
    guard('Data', () => checkDataDir(config.dataDir)),
    guard('Disk', () => checkDisk(config.dataDir)),
    guard('Postgres', () => checkDatabase(config)),
    guard('Queue', () => checkQueue(config)),
    guard('Sandbox', () => checkSandbox(deps, config)),
    guard('Model', () => checkModel(config)),
    guard('Skills', async () => await checkSkills(config)),
    guard('Hooks', async () => await checkHooks(config)),
    guard('Vault', async () => await checkVault(config)),
    guard('Telegram', () => checkTelegram(config.telegram)),
    guard('Slack', () => checkSlack(config)),
    guard('Discord', () => checkDiscord(config.discord)),
    guard('Files', async () => await checkFileChannel(config.fileChannel)),
    guard('Port', () => checkPort(config)),
  ]);
}

/** A check that fails in a way nobody foresaw is one broken line, not the end of the others. */
async function guard(name: string, check: () => Finding | Promise<Finding>): Promise<Finding> {
  try {
    return await check();
  } catch (err) {
    return { name, status: 'broken', detail: toAppError(err).message, mend: 'Run again with LOG_LEVEL=debug.' };
  }
}

async function checkQueue(config: Config): Promise<Finding> {
  const name = 'Queue';
  if (config.queueBackend === 'postgres')
    return { name, status: 'ok', detail: 'kept in Postgres; Redis is not needed' };
  const url = config.redisUrl ?? '';
  const { host } = new URL(url);
  try {
    const version = await probeRedis(url, redisMs);
    const [major, minor] = version.split('.').map(Number);
    if ((major ?? 0) > 6 || (major === 6 && (minor ?? 0) >= 2))
      return { name, status: 'ok', detail: `Redis ${version} at ${host}` };
    return { name, status: 'broken', detail: `Redis ${version} is too old`, mend: 'Use Redis 6.2 or newer.' };
  } catch (err) {
    const detail = `Redis at ${host} cannot be used: ${toAppError(err).message || 'connection refused'}`;
    return {
      name,
      status: 'broken',
      detail,
      mend: 'Start it, correct REDIS_URL, or remove it to keep the queue in Postgres.',
    };
  }
}

/** Without an engine chats still work, so it is no more than a warning. */
async function checkSandbox(deps: DoctorDeps, config: Config): Promise<Finding> {
  const { ok, detail, mend } = await deps.checkSandbox(config);
  return { name: 'Sandbox', status: ok ? 'ok' : 'warn', detail, ...(mend === undefined ? {} : { mend }) };
}

function checkModel(config: Config): Finding {
  const { defaultModel } = config;
  if (defaultModel.provider === 'demo') {
    const mend = 'Set OPENAI_API_KEY, ANTHROPIC_API_KEY or another key, or SWITCHYARD_MODEL=ollama:<model>.';
    return { name: 'Model', status: 'warn', detail: 'the built-in demo model, which only shows the product', mend };
  }
  const withKey = Object.entries(config.providers)
    .filter(([, setting]) => setting?.apiKey !== undefined)
    .map(([name]) => name);
  const { title } = providerOf(defaultModel.provider);
  const keys = withKey.length === 0 ? 'no keys set' : `keys for ${withKey.join(', ')}`;
  return { name: 'Model', status: 'ok', detail: `${defaultModel.text} (${title}); ${keys}` };
}

/** A skill that is suspended is missing for somebody; one that nobody has looked at yet is not missed. */
async function checkSkills(config: Config): Promise<Finding> {
  const name = 'Skills';
  const skills = await openSkills(config).list();
  const bad = skills.filter(({ status }) => status.state !== 'ready' && status.state !== 'untrusted');
  const [first] = bad;
  const ready = skills.filter(({ status }) => status.state === 'ready').length;
  const waiting = skills.length - ready - bad.length;
  const detail = `${ready} ready${waiting === 0 ? '' : `, ${waiting} that nobody has reviewed`}`;
  if (first === undefined || first.status.state === 'ready') return { name, status: 'ok', detail };
  const why = `${first.name} is suspended: ${first.status.reason}${bad.length === 1 ? '' : `; and ${bad.length - 1} more`}`;
  return { name, status: 'warn', detail: `${detail}; ${why}`, mend: 'Look at ./switchyard skill list.' };
}

async function checkHooks(config: Config): Promise<Finding> {
  const name = 'Hooks';
  try {
    const hooks = await listHooks(config, silent);
    const own = hooks.filter((hook) => hook.source !== 'built in');
    const title = own.length === 0 ? 'none of your own' : `your own: ${own.map((hook) => hook.name).join(', ')}`;
    return { name, status: 'ok', detail: `${hooks.length - own.length} built in, ${title}` };
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    return { name, status: 'broken', detail: err.message, ...mendOf(err) };
  }
}

function mendOf(err: AppError): { readonly mend?: string } {
  return err.mend === undefined ? {} : { mend: err.mend };
}
