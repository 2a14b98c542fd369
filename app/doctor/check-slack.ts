import { z } from 'zod';
import { requiredScopes } from '#bots/slack/slack-methods.ts';
import type { Finding } from '#cli/finding.ts';
import type { Config } from '../config.ts';

const answerMs = 5_000;
const answerSchema = z.object({
  ok: z.boolean(),
  error: z.string().optional(),
  user: z.string().optional(),
  team: z.string().optional(),
  url: z.string().optional(),
});

interface Answer extends z.infer<typeof answerSchema> {
  /** What the installation granted, where Slack says so. */
  readonly scopes: readonly string[] | undefined;
}

/**
 * Asks Slack who the bot is and whether a connection could be opened, and compares the granted scopes with what the
 * channel needs. Never says a token or the address of a connection, which is a secret, too.
 */
export async function checkSlack({ slack, publicUrl }: Pick<Config, 'slack' | 'publicUrl'>): Promise<Finding> {
  const name = 'Slack';
  if (slack === undefined) return { name, status: 'ok', detail: 'not set up (SLACK_BOT_TOKEN is not set)' };
  const root = (slack.apiUrl ?? 'https://slack.com/api/').replace(/\/*$/, '/');
  const broken = (detail: string, mend: string): Finding => ({ name, status: 'broken', detail, mend });
  try {
    const me = await call(`${root}auth.test`, slack.botToken);
    if (!me.ok) {
      return broken(
        `the bot token is refused: ${me.error ?? 'without a reason'}`,
        'Install the app to the workspace again and set SLACK_BOT_TOKEN to its bot token (xoxb-).',
      );
    }
    const missing = requiredScopes().filter((scope) => me.scopes !== undefined && !me.scopes.includes(scope));
    if (missing.length > 0) {
      return broken(
        `the bot token lacks ${missing.length === 1 ? 'the scope' : 'the scopes'} ${missing.join(', ')}`,
        'Paste what ./switchyard slack manifest prints into the app manifest, then install the app again.',
      );
    }
    const who = `connected as @${me.user ?? 'unknown'} in ${me.team ?? 'unknown'}`;
    if (slack.appToken === undefined) {
      if (publicUrl !== undefined) return { name, status: 'ok', detail: `${who}, by web hooks` };
      return broken(
        `${who}, but Slack cannot reach this gateway`,
        'Set SWITCHYARD_PUBLIC_URL, or SLACK_APP_TOKEN to use Socket Mode instead.',
      );
    }
    const socket = await call(`${root}apps.connections.open`, slack.appToken);
    if (socket.ok) return { name, status: 'ok', detail: `${who}, by Socket Mode` };
    return broken(
      `${who}, but no connection can be opened: ${socket.error ?? 'without a reason'}`,
      'Turn Socket Mode on for the app and set SLACK_APP_TOKEN to an app-level token with connections:write.',
    );
  } catch (err) {
    const isTimeout = err instanceof DOMException && err.name === 'TimeoutError';
    const detail = `${root} ${isTimeout ? `did not answer within ${answerMs / 1000} s` : 'cannot be reached'}`;
    return broken(detail, 'Check the network, a proxy, or SLACK_API_URL.');
  }
}

async function call(url: string, token: string): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-www-form-urlencoded' },
    signal: AbortSignal.timeout(answerMs),
  });
  const scopes = response.headers
    .get('x-oauth-scopes')
    ?.trim()
    .split(/\s*,\s*/);
  return { ...answerSchema.parse(await response.json()), scopes };
}
