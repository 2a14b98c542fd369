import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Keeps a port on which nobody listens from being given to anybody else, until it is disposed: it is the near end of a
 * connection meanwhile. Whoever calls it is refused, and whoever left it can listen on it again at any time.
 */
export async function holdPort(port: number): Promise<Disposable> {
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    localAddress: '127.0.0.1',
    localPort: port,
  });
  await once(near, 'connect');
  const far = await accepted;
  for (const socket of [near, far]) socket.on('error', () => undefined);
  return {
    [Symbol.dispose]: () => {
      near.resetAndDestroy();
      far.destroy();
      server.close();
    },
  };
}
