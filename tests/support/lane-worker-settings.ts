import { z } from 'zod';
import type { QueueSettings } from '#core/queue/queue-backend.ts';

/** What the process is told as JSON in its only argument. */
export const laneWorkerSettings = z.object({
  databaseUrl: z.string(),
  queue: z.custom<QueueSettings>(),
  slots: z.int(),
  handlerMs: z.number(),
  failAt: z.string().optional(),
  ttlMs: z.number(),
  /** Turns the process accepts itself before it works: one per session and entry. */
  accepts: z.array(z.string()),
});

export type LaneWorkerSettings = z.infer<typeof laneWorkerSettings>;
