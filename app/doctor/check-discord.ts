import { z } from 'zod';
import { missingPrivileged } from '#bots/discord/privileged-intents.ts';
import type { Finding } from '#cli/finding.ts';
import type { Config } from '../config.ts';

const answerMs = 5_000;
const userSchema = z.object({ username: z.string() });
const applicationSchema = z.object({ flags: z.number().default(0) });

/** Asks Discord who the bot is, and whether its application may have the intents we need. Never says the token. */
export async function checkDiscord(discord: Config['discord']): Promise<Finding> {
  const name = 'Discord';
  if (discord === undefined) return { name, status: 'ok', detail: 'not set up (DISCORD_BOT_TOKEN is not set)' };
  const root = `${(discord.apiUrl ?? 'https://discord.com/api').replace(/\/+$/, '')}/v10`;
  const ask = async (path: string): Promise<Response> =>
    await fetch(`${root}${path}`, {
      headers: { authorization: `Bot ${discord.token}` },
      signal: AbortSignal.timeout(answerMs),
    });
  try {
    const me = await ask('/users/@me');
    if (me.status === 401) {
      const mend = 'Press "Reset Token" on the Bot page of your application and set DISCORD_BOT_TOKEN.';
      return { name, status: 'broken', detail: 'the token is refused (401)', mend };
    }
    const { username } = userSchema.parse(await me.json());
    const { flags } = applicationSchema.parse(await (await ask('/applications/@me')).json());
    const missing = missingPrivileged(flags);
    if (missing.length === 0) return { name, status: 'ok', detail: `connected as ${username}` };
    const mend = 'Switch it on at https://discord.com/developers/applications, page Bot, Privileged Gateway Intents.';
    return { name, status: 'broken', detail: `${username} lacks the intent ${missing.join(', ')}`, mend };
  } catch (err) {
    const isTimeout = err instanceof DOMException && err.name === 'TimeoutError';
    const problem = isTimeout ? `did not answer within ${answerMs / 1000} s` : 'cannot be reached';
    const detail = `${root} ${err instanceof z.ZodError ? 'gave an answer that makes no sense' : problem}`;
    return { name, status: 'broken', detail, mend: 'Check the network, a proxy, or DISCORD_API_URL.' };
  }
}
