import { z } from 'zod';

/** The one queue of wakes; a wake says that a lane may be ready, never what to do. */
export const laneQueueName = 'lanes';

/** The name of every job in it. */
export const wakeJobName = 'wake';

/** What a wake job carries. */
export const wakeJobSchema = z.object({ sessionId: z.uuid(), generation: z.int().positive() });

export type WakeJob = z.infer<typeof wakeJobSchema>;

/**
 * A job id of its own for every generation. With one id per lane a wake that is owed while the last one is still
 * active, kept, or held by a dead worker would be swallowed by the queue.
 */
export function wakeJobId(wake: WakeJob): string {
  return `${wake.sessionId}~${wake.generation}`;
}
