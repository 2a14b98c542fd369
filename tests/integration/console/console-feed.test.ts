import { type AddressInfo, createServer } from 'node:net';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { HostedFeed } from '#bots/hosted/hosted-feed.ts';
import { systemClock } from '#core/kit/clock.ts';
import { freePort } from '#tests/support/free-port.ts';

const log = pino({ level: 'silent' });

it('a feed that is stopped while its database does not answer ends at once', async () => {
  const reached = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    reached.resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = new AbortController();
  const feed = new HostedFeed({ databaseUrl: `postgres://x@127.0.0.1:${port}/x`, clock: systemClock, log });
  const running = feed.run(stop.signal);
  await reached.promise;
  stop.abort();
  await running;
  expect(feed.isListening).toBe(false);
  server.close();
});

it('a feed without a database keeps trying until it is stopped', async () => {
  let sleeps = 0;
  const stop = new AbortController();
  const clock = {
    now: () => new Date(),
    sleep: async () => {
      sleeps += 1;
      if (sleeps === 3) stop.abort();
    },
  };
  await new HostedFeed({ databaseUrl: `postgres://x@127.0.0.1:${await freePort()}/x`, clock, log }).run(stop.signal);
  expect(sleeps).toBe(3);
});
