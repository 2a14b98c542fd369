/**
 * A model that writes slowly, in its own process: every answer repeats the question's key and grows by one piece per
 * tick, all of them by one timer. `GET /times` says when the first and the last piece of each answer went out.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chatChunk } from '../../tests/fakes/model-wires.ts';

const [pieces = '40', everyMs = '250'] = process.argv.slice(2);
const piecesMax = Number(pieces);

interface Answer {
  readonly key: string;
  readonly response: ServerResponse;
  written: number;
}

const answers = new Set<Answer>();
const times = new Map<string, { firstAt: number; endAt: number; calls: number }>();
const now = (): number => performance.timeOrigin + performance.now();
const record = (delta: unknown, finish: string | null = null): string =>
  `data: ${JSON.stringify(chatChunk('stream', delta, finish))}\n\n`;

/** The n-th piece of every answer; together they are what must stand in the chat. */
function piece(key: string, index: number): string {
  return index === 0 ? `[${key}] ` : `piece ${index} of many. `;
}

function write(answer: Answer): void {
  const time = times.get(answer.key);
  if (answer.written < piecesMax) {
    if (answer.written === 0 && time !== undefined) time.firstAt = now();
    answer.response.write(record({ content: piece(answer.key, answer.written) }));
    answer.written += 1;
    return;
  }
  answers.delete(answer);
  answer.response.write(record({}, 'stop'));
  const usage = { prompt_tokens: 10, completion_tokens: piecesMax, total_tokens: 10 + piecesMax };
  answer.response.end(
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [], usage })}\n\ndata: [DONE]\n\n`,
  );
  if (time !== undefined) time.endAt = now();
}

// Slices of the answers in turn: a thousand writes in one tick would be a burst no vendor makes.
const slices = 25;
let slice = 0;
setInterval(() => {
  let index = 0;
  for (const answer of answers) {
    if (index % slices === slice) write(answer);
    index += 1;
  }
  slice = (slice + 1) % slices;
}, Number(everyMs) / slices);

const server = createServer((request, response) => {
  if (request.url === '/times') {
    response.end(JSON.stringify({ open: answers.size, times: Object.fromEntries(times) }));
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const key = /key-[\w-]+/.exec(Buffer.concat(chunks).toString())?.[0] ?? 'none';
    const known = times.get(key);
    times.set(key, { firstAt: 0, endAt: 0, calls: (known?.calls ?? 0) + 1 });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(record({ role: 'assistant', content: '' }));
    const answer = { key, response, written: 0 };
    answers.add(answer);
    response.on('close', () => answers.delete(answer));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});
process.once('SIGTERM', () => process.exit(0));
