import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports a system gives out by itself: no connection takes one between its choice and its use. */
const portMin = 20_000;
const portMax = 32_000;

const given = new Set<number>();

/** A loopback port nobody listens on right now; never the same one twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(portMin, portMax);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
