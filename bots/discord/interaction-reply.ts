import type { DiscordApi, SentMessage } from './discord-api.ts';
import { codeOf, codes } from './discord-errors.ts';
import type { InteractionRef } from './interaction-ref.ts';
import type { MessagePayload } from './message-payload.ts';
import { flags } from './render-body.ts';

const messageAnswer = 4;

/**
 * Answers an interaction with a message: as its first answer while that is possible, in place of the busy sign, else as
 * a further message. Repeating it with the same text gives the same message.
 *
 * @returns the message's id.
 * @throws DiscordFailure with one of `isTooLate` when only a message to the channel is left.
 */
export async function replyToInteraction(
  api: DiscordApi,
  ref: InteractionRef,
  payload: MessagePayload,
): Promise<string> {
  const isPrivate = (payload.flags & flags.ephemeral) !== 0;
  for (let attempt = 0; ; attempt += 1) {
    const shown = await shownAnswer(api, ref);
    if (shown === undefined) {
      try {
        const message = await api.answerInteraction(ref, { type: messageAnswer, data: payload });
        return message?.id ?? (await api.interactionMessage(ref.appId, ref.token)).id;
      } catch (err) {
        // The gateway put up the busy sign meanwhile: then that is what is answered.
        if (codeOf(err) !== codes.alreadyAcknowledged || attempt > 0) throw err;
        continue;
      }
    }
    const isBusy = (shown.flags & flags.loading) !== 0;
    if (!isBusy) {
      const isOwn = shown.interaction_metadata?.id === ref.id;
      if (isOwn && textOf(shown) === textOf(payload)) return shown.id;
      return (await api.followUp(ref.appId, ref.token, payload)).id;
    }
    const signIsPrivate = (shown.flags & flags.ephemeral) !== 0;
    if (isPrivate === signIsPrivate) {
      const { flags: own, ...rest } = payload;
      // Who sees it was decided by the sign; an edit may only change what it looks like.
      const body = { ...rest, flags: own & ~(flags.ephemeral | flags.suppressNotifications) };
      return (await api.editInteractionMessage(ref.appId, ref.token, '@original', body)).id;
    }
    await api.deleteInteractionMessage(ref.appId, ref.token, '@original');
    return (await api.followUp(ref.appId, ref.token, payload)).id;
  }
}

/** Whether an error says that the interaction can no longer be answered. */
export function isTooLate(error: unknown): boolean {
  const code = codeOf(error);
  return (
    code === codes.unknownInteraction ||
    code === codes.unknownWebhook ||
    code === codes.invalidWebhookToken ||
    code === codes.alreadyAcknowledged
  );
}

/** The first answer as it stands; undefined when there is none yet. */
async function shownAnswer(api: DiscordApi, ref: InteractionRef): Promise<SentMessage | undefined> {
  try {
    return await api.interactionMessage(ref.appId, ref.token);
  } catch (err) {
    const code = codeOf(err);
    if (code === codes.unknownWebhook || code === codes.unknownMessage) return undefined;
    throw err;
  }
}

/** All words of a message, wherever they stand in it. */
export function textOf(message: { readonly content?: string; readonly components?: readonly unknown[] }): string {
  return [message.content ?? '', ...(message.components ?? []).map(wordsOf)].filter((text) => text !== '').join('\n');
}

function wordsOf(component: unknown): string {
  if (typeof component !== 'object' || component === null) return '';
  const content: unknown = Reflect.get(component, 'content');
  const inner: unknown = Reflect.get(component, 'components');
  const nested = Array.isArray(inner) ? inner.map(wordsOf) : [];
  return [typeof content === 'string' ? content : '', ...nested].filter((text) => text !== '').join('\n');
}
