import { EventEmitter } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { startModelServer } from '#tests/fakes/model-server.ts';
import { eventually } from '#tests/support/eventually.ts';
import { allWires, callOptions, collect, failureOf, portFor, requestFor } from './model-fixture.ts';

const callsPerRound = 300;

function usedMegabytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

test('thousands of calls, good and broken, leave no listener, no socket and no memory behind', async () => {
  await using server = await startModelServer({
    // Every fifth answer breaks off.
    script: (_, index) => (index % 5 === 4 ? { fault: 'eof' } : { text: 'A short answer.' }),
    logMax: 1,
  });
  const ports = await Promise.all(allWires.map(async (wire) => ({ wire, port: await portFor(server, wire) })));
  const { signal } = new AbortController();
  let served = 0;

  async function round(): Promise<void> {
    for (const { wire, port } of ports) {
      for (let call = 0; call < callsPerRound; call += 1) {
        const stream = port.stream(requestFor(wire), callOptions({ signal }));
        if (served % 5 === 4) await failureOf(stream);
        else await collect(stream);
        served += 1;
      }
    }
  }

  await round();
  const before = usedMegabytes();
  for (let rounds = 0; rounds < 3; rounds += 1) await round();
  // What the last calls left is let go of a moment later: a body that was broken off, a socket that is being closed.
  await eventually(() => expect(usedMegabytes() - before).toBeLessThan(8), { interval: 500 });
  expect(EventEmitter.getEventListeners(signal, 'abort')).toHaveLength(0);
  await eventually(() => expect(server.openConnections()).toBeLessThan(10));
}, 300_000);
