import type { FastifyInstance } from 'fastify';
import type { ChannelRoute } from '#core/inbox/channel-route.ts';

/** The largest event any platform delivers is well below this. */
const bodyBytesMax = 4 * 1024 * 1024;

/** The platforms' web hooks. Bodies are handed on byte for byte, because signatures are over their bytes. */
export function hookRoutes(app: FastifyInstance, routes: readonly ChannelRoute[]): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyBytesMax }, (_request, body, done) =>
    done(null, body),
  );
  for (const route of routes) {
    app.post(`/hooks/${route.path}`, { bodyLimit: bodyBytesMax }, async (request, reply) => {
      const answer = await route.handle({
        headers: Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
        ),
        query: request.query as Record<string, string | undefined>,
        body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
      });
      return await reply
        .status(answer.status)
        .type(answer.contentType ?? 'text/plain; charset=utf-8')
        .send(answer.body ?? '');
    });
  }
}
