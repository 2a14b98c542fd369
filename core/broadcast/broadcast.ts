import type { OutboundBody, OutboundPart } from '../outbox/outbound.ts';

/** What a broadcast says it is; every channel gives each a look of its own. */
export type BroadcastLevel = Extract<OutboundPart, { type: 'notice' }>['level'];
export type BroadcastPriority = NonNullable<OutboundBody['priority']>;

export const broadcastLevels = [
  'info',
  'success',
  'warn',
  'error',
  'status',
  'question',
  'announcement',
] as const satisfies readonly BroadcastLevel[];

export const broadcastPriorities = ['low', 'normal', 'high', 'urgent'] as const satisfies readonly BroadcastPriority[];

/** What became of a broadcast at one of its targets. */
export interface TargetResult {
  readonly target: string;
  /** Absent for a target that leads nowhere. */
  readonly threadKey: string | undefined;
  /** `unknown`: the platform may or may not have it. */
  readonly state: 'waiting' | 'delivered' | 'failed' | 'unknown';
  readonly reason: string | undefined;
  readonly deliveredAt: Date | undefined;
}

/** A message to several places, with what became of it at each. */
export interface Broadcast {
  readonly id: string;
  readonly markdown: string;
  readonly level: BroadcastLevel;
  readonly priority: BroadcastPriority;
  /** Who said it: a person's name, or an agent's. */
  readonly author: string;
  readonly createdAt: Date;
  readonly results: readonly TargetResult[];
}

/** Where a broadcast stands, in a few words: `3 delivered, 1 failed`. */
export function summarise(results: readonly TargetResult[]): string {
  const states = ['delivered', 'waiting', 'unknown', 'failed'] as const;
  const parts = states.flatMap((state) => {
    const count = results.filter((result) => result.state === state).length;
    return count === 0 ? [] : [`${count} ${state}`];
  });
  return parts.length === 0 ? 'nobody to send it to' : parts.join(', ');
}
