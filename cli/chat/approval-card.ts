import type { Button } from '#core/outbox/outbound.ts';
import type { ChatMessage } from './stream-event.ts';

/** A message that waits for a button to be pressed. */
export interface Card {
  readonly messageId: string;
  /** Button token by the key that presses it, in the order shown. */
  readonly keys: ReadonlyMap<string, string>;
  /** Label by key. */
  readonly labels: ReadonlyMap<string, string>;
}

/** Keys people learn once; any other button gets the first letter of its label that is free, or a digit. */
const wellKnown: readonly (readonly [string, RegExp])[] = [
  ['d', /\bden(y|ied)|reject|refuse|\bno\b/i],
  ['s', /session/i],
  ['g', /agent|always/i],
  ['a', /approve|allow|accept|\byes\b/i],
];

/** The card a message is, or undefined when it has no button that can be pressed. */
export function toCard(message: ChatMessage): Card | undefined {
  const buttons = pressable(message);
  if (buttons.length === 0) return undefined;
  const keys = new Map<string, string>();
  const labels = new Map<string, string>();
  for (const button of buttons) {
    const known = wellKnown.find(([, pattern]) => pattern.test(button.label))?.[0];
    const letters = [...button.label.toLowerCase()].filter((letter) => /[a-z]/.test(letter));
    const key = [...(known === undefined ? [] : [known]), ...letters, ...'123456789'].find((one) => !keys.has(one));
    if (key === undefined) continue;
    keys.set(key, button.token);
    labels.set(key, button.label);
  }
  return { messageId: message.messageId, keys, labels };
}

/** The button that says yes or no once; undefined when the card has none, as one with the choices of a question. */
export function findAnswer(card: Card, answer: 'approve' | 'deny'): string | undefined {
  const key = answer === 'approve' ? 'a' : 'd';
  const pattern = wellKnown.find(([one]) => one === key)?.[1];
  return pattern?.test(card.labels.get(key) ?? '') === true ? card.keys.get(key) : undefined;
}

function pressable(message: ChatMessage): (Button & { token: string })[] {
  return message.isDeleted || message.direction === 'in'
    ? []
    : message.parts
        .flatMap((part) => (part.type === 'buttons' ? part.rows.flat() : []))
        .flatMap((button) =>
          button.token === undefined || button.isDisabled === true ? [] : [{ ...button, token: button.token }],
        );
}
