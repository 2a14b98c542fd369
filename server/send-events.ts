import type { FastifyReply } from 'fastify';
import { type StreamDeps, type StreamOptions, streamConversation } from './stream-conversation.ts';

/** Answers a request with a conversation as server-sent events; resolves when the client left or the signal aborted. */
export async function sendEvents(deps: StreamDeps, reply: FastifyReply, options: StreamOptions): Promise<void> {
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
  reply.raw.writeHead(200, {
    'content-type': 'text/event-stream',
    // Proxies that buffer would turn a stream into a long silence.
    'x-accel-buffering': 'no',
    // A connection kept for later would hold up the stop of the server after its stream has ended.
    connection: 'close',
  });
  await streamConversation(deps, reply.raw, options);
}
