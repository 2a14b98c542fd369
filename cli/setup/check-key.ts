import { z } from 'zod';
import { providerOf } from '#core/models/providers.ts';

/** The value a variable has, or would have after this setup. */
export type SetupValues = (name: string) => string | undefined;

/** What a live check found. `isRefused` is certain; otherwise the other side could not be asked. */
export type KeyCheck =
  | { readonly isOk: true; readonly detail: string; readonly warning?: string }
  | { readonly isOk: false; readonly isRefused: boolean; readonly detail: string };

const answerMs = 10_000;
/** Bit 18: the privileged intent is switched on; bit 19: the same for a bot in few servers. */
const messageContentFlags = (1 << 18) | (1 << 19);

/** Asks a model provider for its list of models, which costs nothing. */
export async function checkModelKey(name: Parameters<typeof providerOf>[0], values: SetupValues): Promise<KeyCheck> {
  const { title, baseUrl, baseUrlEnv, keyEnv = '', wire } = providerOf(name);
  const root = trimmed(values(baseUrlEnv ?? '') ?? baseUrl);
  const key = values(keyEnv) ?? '';
  const isAnthropic = wire === 'anthropic.messages';
  const answer = await ask(isAnthropic ? `${root.replace(/\/v1$/, '')}/v1/models` : `${root}/models`, {
    headers: isAnthropic ? { 'x-api-key': key, 'anthropic-version': '2023-06-01' } : { authorization: `Bearer ${key}` },
  });
  if (answer === undefined) return unreachable(title);
  if (answer.status === 401 || answer.status === 403) return refused(`${title} refuses this key.`);
  if (answer.status >= 400) return { isOk: false, isRefused: false, detail: `${title} answered ${answer.status}.` };
  return { isOk: true, detail: `${title} accepts the key.` };
}

const telegramSchema = z.object({
  ok: z.boolean(),
  result: z.object({ username: z.string().optional() }).optional(),
});

/** Asks Telegram who the bot is. */
export async function checkTelegramToken(values: SetupValues): Promise<KeyCheck> {
  const root = trimmed(values('TELEGRAM_API_ROOT') ?? 'https://api.telegram.org');
  const answer = await ask(`${root}/bot${values('TELEGRAM_BOT_TOKEN') ?? ''}/getMe`);
  const body = telegramSchema.safeParse(answer?.body).data;
  if (answer === undefined || body === undefined) return unreachable('Telegram');
  if (!body.ok) return refused('Telegram refuses this token. @BotFather shows the right one under /mybots.');
  return { isOk: true, detail: `Connected as @${body.result?.username ?? 'unknown'}.` };
}

const slackSchema = z.object({
  ok: z.boolean(),
  error: z.string().optional(),
  team: z.string().optional(),
  user: z.string().optional(),
});

/** Asks Slack whose bot token this is. */
export async function checkSlackBot(values: SetupValues): Promise<KeyCheck> {
  const body = await askSlack(values, 'auth.test', 'SLACK_BOT_TOKEN');
  if (body === undefined) return unreachable('Slack');
  if (!body.ok) return refused(`Slack refuses this token (${body.error ?? 'no reason'}).`);
  return { isOk: true, detail: `Connected to ${body.team ?? 'the workspace'} as ${body.user ?? 'the bot'}.` };
}

/** Asks Slack for a Socket Mode address, which proves token, scope and that Socket Mode is on. */
export async function checkSlackSocket(values: SetupValues): Promise<KeyCheck> {
  const body = await askSlack(values, 'apps.connections.open', 'SLACK_APP_TOKEN');
  if (body === undefined) return unreachable('Slack');
  if (!body.ok) {
    return refused(
      `Slack refuses this app token (${body.error ?? 'no reason'}). It needs the scope connections:write, and Socket Mode must be on.`,
    );
  }
  return { isOk: true, detail: 'Socket Mode works.' };
}

const discordUserSchema = z.object({ username: z.string() });
const discordApplicationSchema = z.object({ flags: z.number().optional() });

/** Asks Discord who the bot is and whether it may read messages. */
export async function checkDiscordToken(values: SetupValues): Promise<KeyCheck> {
  const root = trimmed(values('DISCORD_API_URL') ?? 'https://discord.com/api');
  const headers = { authorization: `Bot ${values('DISCORD_BOT_TOKEN') ?? ''}` };
  const answer = await ask(`${root}/v10/users/@me`, { headers });
  if (answer === undefined) return unreachable('Discord');
  const user = discordUserSchema.safeParse(answer.body).data;
  if (answer.status === 401 || answer.status === 403) return refused('Discord refuses this token.');
  if (user === undefined) return { isOk: false, isRefused: false, detail: `Discord answered ${answer.status}.` };
  const application = await ask(`${root}/v10/applications/@me`, { headers });
  const flags = discordApplicationSchema.safeParse(application?.body).data?.flags;
  const lacksIntent = flags !== undefined && (flags & messageContentFlags) === 0;
  return {
    isOk: true,
    detail: `Connected as ${user.username}.`,
    ...(lacksIntent
      ? { warning: 'The "Message Content Intent" is off: switch it on on the Bot page, or it reads only mentions.' }
      : {}),
  };
}

async function askSlack(
  values: SetupValues,
  method: string,
  variable: string,
): Promise<z.infer<typeof slackSchema> | undefined> {
  const root = trimmed(values('SLACK_API_URL') ?? 'https://slack.com/api');
  const answer = await ask(`${root}/${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${values(variable) ?? ''}` },
  });
  return slackSchema.safeParse(answer?.body).data;
}

/** Undefined when nobody answered. Neither address nor error is ever shown: both may hold the token. */
async function ask(
  url: string,
  init: RequestInit = {},
): Promise<{ readonly status: number; readonly body: unknown } | undefined> {
  try {
    const response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(answerMs) });
    const text = await response.text();
    return { status: response.status, body: parseJson(text) };
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused(detail: string): KeyCheck {
  return { isOk: false, isRefused: true, detail };
}

function unreachable(who: string): KeyCheck {
  return { isOk: false, isRefused: false, detail: `${who} could not be asked: check the network or a proxy.` };
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, '');
}
