import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { toAnswer } from '../http-error.ts';

/** A BullMQ queue, typed as the dashboard takes it so that the queue library stays in its room. */
export type BoardQueue = ConstructorParameters<typeof BullMQAdapter>[0];

/** Wake jobs carry the session whose lane they ring for. */
const laneJobSchema = z.union([
  z.object({ data: z.object({ sessionId: z.string() }) }).transform((job) => job.data.sessionId),
  z.object({ data: z.object({ lane: z.string() }) }).transform((job) => job.data.lane),
]);

/**
 * The queue dashboard under `/queues`. Read-only unless the operator wants otherwise: jobs are only bells, and what is
 * changed here is put right by the sweep.
 */
export async function boardRoutes(
  app: FastifyInstance,
  deps: { readonly queues: readonly BoardQueue[]; readonly log: Log },
  options: { readonly isReadOnly: boolean },
): Promise<void> {
  const serverAdapter = new FastifyAdapter();
  createBullBoard({
    queues: deps.queues.map(
      (queue) =>
        new BullMQAdapter(queue, {
          readOnlyMode: options.isReadOnly,
          externalJobUrl: (job) => {
            const session = laneJobSchema.safeParse(job).data;
            return session === undefined
              ? { href: '/queues' }
              : { href: `/lanes/${encodeURIComponent(session)}`, displayText: 'Lane' };
          },
        }),
    ),
    serverAdapter,
    options: {
      uiConfig: {
        boardTitle: 'Switchyard',
        miscLinks: [
          { text: 'Chat', url: '/chat' },
          { text: 'Log out', url: '/logout' },
        ],
        hideRedisDetails: true,
      },
    },
  });
  serverAdapter.setBasePath('/queues');
  // The dashboard's own handler would answer everything, a missing login included, with 500.
  serverAdapter.setErrorHandler((error) => {
    const { status, body } = toAnswer(deps.log, error, newId());
    return { status: status as 500, body: { ...body } };
  });
  if (options.isReadOnly) {
    // The adapters refuse too; this also covers actions that belong to no queue.
    app.addHook('onRequest', async (request) => {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw new AppError('request.refused', 'The queue dashboard is read-only.');
      }
    });
  }
  await app.register(serverAdapter.registerPlugin(), { prefix: '/queues' });
}
