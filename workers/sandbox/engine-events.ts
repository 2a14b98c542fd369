import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { z } from 'zod';
import type { Log } from '#core/kit/log.ts';
import { labels } from './container-spec.ts';

const eventSchema = z.object({
  Action: z.string(),
  Actor: z.object({ ID: z.string() }),
});

/** How long to wait before asking for the events of an engine that went away. */
const reconnectMs = 1_000;

/**
 * Reports `oom` and `pause` of this installation's containers until the signal aborts. Only the event tells of a
 * command that the kernel killed for memory: the container's own state says nothing as long as its first process lives.
 */
export async function watchEngineEvents(
  deps: { readonly engine: Docker; readonly log: Log },
  instance: string,
  onEvent: (containerId: string, action: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    let stream: Readable | undefined;
    try {
      stream = (await deps.engine.getEvents({
        abortSignal: signal,
        filters: JSON.stringify({
          type: ['container'],
          event: ['oom', 'pause'],
          label: [`${labels.instance}=${instance}`],
        }),
      })) as Readable;
      for await (const line of createInterface({ input: stream, signal })) {
        const event = eventSchema.safeParse(parseLine(line));
        if (event.success) onEvent(event.data.Actor.ID, event.data.Action);
      }
    } catch (err) {
      if (signal.aborted) return;
      deps.log.debug({ err }, 'engine events interrupted');
    } finally {
      // Closing the reader leaves the response open, and an open response keeps the process alive.
      stream?.destroy();
    }
    await delay(reconnectMs, undefined, { signal }).catch(() => undefined);
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
