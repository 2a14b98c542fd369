import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Delivery } from '#core/outbox/outbox-store.ts';

/** A message that is posted later than this says so; the reader may have asked again meanwhile. */
const delayedMs = 10 * 60_000;

/** The body of a first post, with a line on top of it when it comes late. */
export function withDelayedMark(
  delivery: Pick<Delivery, 'body' | 'importance' | 'platformIds' | 'saidMs'>,
): OutboundBody {
  const { body, importance, platformIds, saidMs } = delivery;
  if (platformIds !== undefined || importance === 'progress' || saidMs < delayedMs) return body;
  const markdown = `Delayed: this was written ${describeAge(saidMs)} ago and could not be delivered before.`;
  return { ...body, parts: [{ type: 'notice', level: 'info', markdown }, ...body.parts] };
}

function describeAge(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} minutes`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} hours` : `${Math.round(hours / 24)} days`;
}
