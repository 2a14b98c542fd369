import { SlackError } from './slack-error.ts';
import { checkBlocks } from './validate-blocks.ts';
import type { World } from './world.ts';

/** Posts to a response URL: five times within half an hour, in channels the bot is no member of as well. */
export function answerResponseUrl(
  world: World,
  id: string,
  body: Readonly<Record<string, unknown>>,
  options: { readonly knowsNewBlocks: boolean },
): { readonly status: number; readonly text: string } {
  const address = world.responseUrls.get(id);
  if (address === undefined) return { status: 404, text: 'no_active_hooks' };
  if (world.now() > address.expiresAt) return { status: 404, text: 'expired_url' };
  if (address.uses >= world.limits.responseUses) return { status: 404, text: 'used_url' };
  const channel = world.channels.get(address.channel);
  if (channel === undefined) return { status: 404, text: 'channel_not_found' };
  try {
    const blocks = checkBlocks(body['blocks'], 'message', options);
    address.uses += 1;
    world.addMessage(channel, {
      user: world.botUser,
      text: String(body['text'] ?? ''),
      blocks,
      threadTs: typeof body['thread_ts'] === 'string' ? body['thread_ts'] : undefined,
      onlyFor: body['response_type'] === 'in_channel' ? undefined : address.user,
    });
    return { status: 200, text: 'ok' };
  } catch (err) {
    if (!(err instanceof SlackError)) throw err;
    return { status: 400, text: JSON.stringify({ ok: false, error: err.message }) };
  }
}
