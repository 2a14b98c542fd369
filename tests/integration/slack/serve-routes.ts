import { fastify } from 'fastify';
import type { ChannelRoute } from '#core/inbox/channel-route.ts';
import { hookRoutes } from '#server/hook-routes.ts';

/** The gateway's web hooks and nothing else, on a port of its own. */
export async function serveRoutes(
  routes: readonly ChannelRoute[],
): Promise<{ readonly url: string } & AsyncDisposable> {
  const app = fastify();
  await app.register(async (hooks) => hookRoutes(hooks, routes));
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return { url, [Symbol.asyncDispose]: async () => await app.close() };
}
