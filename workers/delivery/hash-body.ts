import { sha256 } from '#core/kit/ids.ts';
import { canonicalJson } from '#core/kit/json.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';

/** A fingerprint of what of a body is visible: an edit to the same fingerprint changes nothing and is not made. */
export function hashBody(body: OutboundBody): string {
  const { draftId: _draft, interactionToken: _token, isSilent: _silent, replyTo: _reply, ...visible } = body;
  return sha256(canonicalJson(visible)).slice(0, 32);
}
