import { fromTransport } from './slack-api.ts';
import { SlackRefusal, SlackSilence, SlackThrottle } from './slack-errors.ts';

const answerMs = 10_000;

/**
 * Posts to the address a command or a press brought along. The address is a secret; none of it is in an error.
 * @throws SlackRefusal (`expired_url`, `used_url`, ...), SlackThrottle or SlackSilence.
 */
export async function respond(url: string, message: Record<string, unknown>): Promise<void> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify(message),
      redirect: 'error',
      signal: AbortSignal.timeout(answerMs),
    });
    text = await response.text();
  } catch (err) {
    throw fromTransport('response_url', err);
  }
  if (response.ok) return;
  if (response.status === 429) {
    const seconds = Number(response.headers.get('retry-after'));
    throw new SlackThrottle('response_url', (Number.isFinite(seconds) && seconds > 0 ? seconds : 1) * 1_000);
  }
  if (response.status >= 500) throw new SlackSilence('response_url', true, `HTTP ${response.status}`);
  const code = /"error":"([\w.-]{1,60})"/.exec(text)?.[1] ?? (/^[\w.-]{1,60}$/.test(text) ? text : 'expired_url');
  throw new SlackRefusal('response_url', code);
}
