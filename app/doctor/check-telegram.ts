import { z } from 'zod';
import type { Finding } from '#cli/finding.ts';
import type { Config } from '../config.ts';

const answerMs = 5_000;
const answerSchema = z.object({
  ok: z.boolean(),
  description: z.string().optional(),
  result: z.object({ username: z.string().optional() }).optional(),
});

/** Asks Telegram who the bot is. Never says the token, which is part of the URL. */
export async function checkTelegram(telegram: Config['telegram']): Promise<Finding> {
  const name = 'Telegram';
  if (telegram === undefined) return { name, status: 'ok', detail: 'not set up (TELEGRAM_BOT_TOKEN is not set)' };
  const root = (telegram.apiRoot ?? 'https://api.telegram.org').replace(/\/+$/, '');
  try {
    const response = await fetch(`${root}/bot${telegram.token}/getMe`, { signal: AbortSignal.timeout(answerMs) });
    const answer = answerSchema.parse(await response.json());
    if (answer.ok) return { name, status: 'ok', detail: `connected as @${answer.result?.username ?? 'unknown'}` };
    const detail = `the token is refused: ${answer.description ?? `HTTP ${response.status}`}`;
    return { name, status: 'broken', detail, mend: 'Get a new token from @BotFather and set TELEGRAM_BOT_TOKEN.' };
  } catch (err) {
    const isTimeout = err instanceof DOMException && err.name === 'TimeoutError';
    const detail = `${root} ${isTimeout ? `did not answer within ${answerMs / 1000} s` : 'cannot be reached'}`;
    return { name, status: 'broken', detail, mend: 'Check the network, a proxy, or TELEGRAM_API_ROOT.' };
  }
}
