import { connect, createServer, type Socket } from 'node:net';

/** The tests' Docker engine under an address of the network. */
export interface EngineOnNetwork extends AsyncDisposable {
  readonly url: string;
}

/**
 * Opens a way to the engine at `dockerHost` (`unix://…`) on a port of the loopback.
 * @param answer looks at what a client sends; what it returns is answered in the engine's place.
 */
export async function openEngineOnNetwork(
  dockerHost: string,
  answer: (request: string) => string | undefined = () => undefined,
): Promise<EngineOnNetwork> {
  const path = dockerHost.replace(/^unix:\/\//, '');
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const upstream = connect({ path, allowHalfOpen: true });
    for (const end of [socket, upstream]) {
      sockets.add(end);
      end.on('error', () => undefined);
      end.on('close', () => {
        sockets.delete(end);
        socket.destroy();
        upstream.destroy();
      });
    }
    socket.on('data', (chunk: Buffer) => {
      const own = answer(chunk.toString('latin1'));
      if (own !== undefined) socket.write(own);
      else if (!upstream.write(chunk)) {
        socket.pause();
        upstream.once('drain', () => socket.resume());
      }
    });
    socket.on('end', () => upstream.end());
    upstream.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `tcp://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
