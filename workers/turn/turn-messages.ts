import type { AppError } from '#core/kit/errors.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';
import type { Origin } from '#core/sessions/origin.ts';
import { draftIdOf } from './turn-setup.ts';

/** The turn whose words these are. */
export interface Speaker {
  readonly turnId: string;
  readonly sessionId: string;
  readonly origin: Origin;
}

/** The outbox key of the n-th text a turn says; a text that is said again after a crash keeps its key. */
export function sayKey(turnId: string, index: number): string {
  return `turn:${turnId}:say:${index}`;
}

/** A text of the agent, as it stands when it is complete. */
export function sayMessage(speaker: Speaker, index: number, markdown: string): NewMessage {
  return {
    ...base(speaker),
    key: sayKey(speaker.turnId, index),
    importance: 'result',
    body: {
      parts: [{ type: 'markdown', markdown }],
      draftId: draftIdOf(speaker.turnId),
      ...(speaker.origin.kind !== 'dm' && speaker.origin.messageId !== undefined
        ? { replyTo: speaker.origin.messageId }
        : {}),
    },
  };
}

/** A word of the platform itself: a failure, a stop, a warning. `name` makes it unique within the turn. */
export function noticeMessage(
  speaker: Speaker,
  name: string,
  level: Extract<OutboundPart, { type: 'notice' }>['level'],
  markdown: string,
): NewMessage {
  return {
    ...base(speaker),
    key: `turn:${speaker.turnId}:${name}`,
    importance: 'notice',
    // The last words of a turn take the place of its preview, whatever they are.
    body: { parts: [{ type: 'notice', level, markdown }], draftId: draftIdOf(speaker.turnId) },
  };
}

/** What a person reads when a turn fails: the message and the mend, or an id only when the fault is ours. */
export function failureText(error: AppError, turnId: string): string {
  if (error.isForChat) return error.text;
  return `Something went wrong on my side. The operator finds it under \`${turnId}\`. Nothing you sent is lost; try again or ask them.`;
}

function base(speaker: Speaker): Pick<NewMessage, 'conversation' | 'sessionId' | 'turnId'> {
  return { conversation: speaker.origin, sessionId: speaker.sessionId, turnId: speaker.turnId };
}
