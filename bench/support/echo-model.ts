/**
 * A model without latency in its own process: answers with the last user text, so that lost, doubled and reordered
 * replies can be told apart. Prints its port as JSON.
 */
import { startModelServer } from '../../tests/fakes/model-server.ts';

const server = await startModelServer({
  logMax: 1,
  script: ({ body }) => {
    const items = (body['messages'] ?? body['input'] ?? []) as { role?: string; content?: unknown }[];
    const last = items.findLast((item) => item.role === 'user')?.content;
    const parts = Array.isArray(last) ? (last as { text?: string }[]).map((part) => part.text ?? '') : [String(last)];
    return { text: parts.join('') };
  },
});
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);
process.once('SIGTERM', () => process.exit(0));
