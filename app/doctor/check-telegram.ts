import { z } from 'zod';
import type { Finding } from '#cli/finding.ts';
import type { Config } from '../config.ts';

const answerMs = 5_000;
const refusalSchema = z.object({ ok: z.literal(false), description: z.string().optional() });
const meSchema = z.object({
  ok: z.literal(true),
  result: z.object({
    username: z.string().default('unknown'),
    can_read_all_group_messages: z.boolean().default(false),
    has_topics_enabled: z.boolean().default(false),
    can_join_groups: z.boolean().default(true),
  }),
});
const hookSchema = z.object({
  ok: z.literal(true),
  result: z.object({
    url: z.string().default(''),
    pending_update_count: z.number().default(0),
    last_error_message: z.string().optional(),
  }),
});

const name = 'Telegram';

/** Asks Telegram who the bot is and how updates reach it. Never says the token, which is part of the URL. */
export async function checkTelegram(telegram: Config['telegram']): Promise<Finding> {
  if (telegram === undefined) return { name, status: 'ok', detail: 'not set up (TELEGRAM_BOT_TOKEN is not set)' };
  const root = (telegram.apiRoot ?? 'https://api.telegram.org').replace(/\/+$/, '');
  const ask = async (method: string): Promise<unknown> => {
    const response = await fetch(`${root}/bot${telegram.token}/${method}`, { signal: AbortSignal.timeout(answerMs) });
    return await response.json();
  };
  try {
    const answer = await ask('getMe');
    const refusal = refusalSchema.safeParse(answer).data;
    if (refusal !== undefined) {
      const detail = `the token is refused: ${refusal.description ?? 'without a reason'}`;
      return { name, status: 'broken', detail, mend: 'Get a new token from @BotFather and set TELEGRAM_BOT_TOKEN.' };
    }
    const { result: me } = meSchema.parse(answer);
    const hook = hookSchema.safeParse(await ask('getWebhookInfo')).data?.result;
    return judge(me, hook ?? { url: '', pending_update_count: 0 }, telegram.webhookSecret !== undefined);
  } catch (err) {
    const isTimeout = err instanceof DOMException && err.name === 'TimeoutError';
    const detail = `${root} ${isTimeout ? `did not answer within ${answerMs / 1000} s` : 'cannot be reached'}`;
    return { name, status: 'broken', detail, mend: 'Check the network, a proxy, or TELEGRAM_API_ROOT.' };
  }
}

function judge(
  me: z.infer<typeof meSchema>['result'],
  hook: z.infer<typeof hookSchema>['result'],
  wantsHook: boolean,
): Finding {
  const detail = [
    `connected as @${me.username}`,
    me.can_read_all_group_messages
      ? 'privacy mode is off: Telegram shows it everything said in its groups'
      : 'privacy mode is on: in groups it sees what names it, answers it or is a command',
    me.has_topics_enabled ? 'private chats have topics' : 'private chats have no topics',
    hook.url === '' ? 'updates are polled' : 'updates come by web hook',
  ].join('; ');
  if (wantsHook && hook.pending_update_count > 0 && hook.last_error_message !== undefined) {
    return {
      name,
      status: 'warn',
      detail: `${detail}; ${hook.pending_update_count} updates wait: ${hook.last_error_message}`,
      mend: 'Telegram must reach SWITCHYARD_PUBLIC_URL by https on port 443, 80, 88 or 8443 while the gateway runs.',
    };
  }
  if (!me.can_join_groups) {
    return {
      name,
      status: 'warn',
      detail: `${detail}; it may not be added to groups`,
      mend: 'Send /setjoingroups to @BotFather to allow it, if it is meant to work in groups.',
    };
  }
  return { name, status: 'ok', detail };
}
