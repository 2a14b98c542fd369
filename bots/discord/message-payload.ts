import { createHash } from 'node:crypto';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { flags, type Unit } from './render-body.ts';

/** What one message is made of, as Discord takes it. */
export interface MessagePayload {
  readonly content?: string;
  readonly components?: readonly unknown[];
  readonly flags: number;
  readonly allowed_mentions: object;
}

/** A rendered part as Discord takes it; only the people in `mentions` can be pinged. */
export function payloadOf(unit: Unit, body: OutboundBody, extraFlags: number): MessagePayload {
  const users = (body.mentions ?? []).filter((id) => /^\d{1,20}$/.test(id)).slice(0, 100);
  const isSilent = body.isSilent === true || body.priority === 'low';
  return {
    ...(unit.kind === 'text' ? { content: unit.content } : {}),
    ...(unit.kind === 'card' ? { components: unit.components } : {}),
    flags:
      extraFlags |
      // Cards fetch no previews, and have nothing to suppress.
      (unit.kind === 'card' ? flags.componentsV2 : flags.suppressEmbeds) |
      (isSilent ? flags.suppressNotifications : 0),
    allowed_mentions: { parse: [], users, replied_user: false },
  };
}

/** At most 25 characters; the same for every try of the same part, so that Discord makes one message of them. */
export function nonceOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 24);
}

/** How the key of a message's first text ends. */
export const firstSlot = '\nt0';

/** Texts and files are counted apart: a text more must not take the place of a file. */
export function withSlots(units: readonly Unit[]): { readonly unit: Unit; readonly slot: string }[] {
  const counts = { t: 0, f: 0 };
  return units.map((unit) => {
    const kind = unit.kind === 'file' ? 'f' : 't';
    const slot = `${kind}${counts[kind]}`;
    counts[kind] += 1;
    return { unit, slot };
  });
}
