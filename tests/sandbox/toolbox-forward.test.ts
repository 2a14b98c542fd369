import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { OpenGateway, Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let worker: DockerSandboxes;
let sandbox: Sandbox;
/** What the far end does with a connection. */
let serve: (socket: Socket) => void;
const sockets = new Set<Socket>();

const openGateway: OpenGateway = async (_, socketPath) => {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  chmodSync(socketPath, 0o666);
  return {
    update: () => undefined,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
};

beforeAll(async () => {
  stage = openSandboxStage();
  const { instance, socketDirectory } = stage;
  worker = new DockerSandboxes(
    { log: pino({ level: 'silent' }) },
    { dockerHost: inject('dockerHost'), image: inject('sandboxImage'), instance, socketDirectory, openGateway },
  );
  sandbox = await stage.open(worker, stage.newSession(), { network: 'gateway' });
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

/** Answers with everything it got, in capitals, once the other side has said its last. */
const shout = (socket: Socket) => {
  const parts: Buffer[] = [];
  socket.on('data', (chunk) => parts.push(chunk));
  socket.on('end', () => socket.end(Buffer.concat(parts).toString().toUpperCase()));
};

const python = (code: string, into = sandbox) => run(into, 'python3 -', { stdin: `import socket, time\n${code}` });
const connect = "s = socket.create_connection(('127.0.0.1', 3128), timeout=15)\n";
const pidOf = async () => (await run(sandbox, 'pgrep -x egress-forward')).output.trim();

describe('the way from 127.0.0.1:3128 to the gateway', () => {
  test('carries both directions, and one end of it may close first', async () => {
    serve = shout;
    const { output } = await python(
      `${connect}s.sendall(b'hello ' * 100000)\ns.shutdown(socket.SHUT_WR)\ngot = b''
while True:
  part = s.recv(65536)
  if not part: break
  got += part
print(len(got), got[:5].decode())`,
    );
    expect(output).toBe('600000 HELLO\n');
  });

  test('serves an ordinary HTTP client through the proxy variables of the container', async () => {
    serve = (socket) => {
      socket.once('data', (chunk) => {
        const [line] = chunk.toString().split('\r\n');
        socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nasked for: ${line}\n`);
      });
    };
    const { output } = await run(sandbox, 'curl -sS http://example.test/page');
    expect(output).toBe('asked for: GET http://example.test/page HTTP/1.1\n');
  });

  test('carries a hundred connections, sixty-four of them at once', async () => {
    serve = shout;
    const { output } = await python(
      `all = [socket.create_connection(('127.0.0.1', 3128), timeout=15) for _ in range(100)]
done = 0
for i, s in enumerate(all):
  s.sendall(b'x%d' % i); s.shutdown(socket.SHUT_WR)
  if s.recv(10) == b'X%d' % i: done += 1
  s.close()
print(done)`,
    );
    expect(output).toBe('100\n');
    await eventually(() => expect(sockets.size).toBe(0));
  });

  attack('proxy', '40: a reader that stops', 'the writer is held up, nothing grows', async () => {
    serve = (socket) => socket.pause();
    const { output } = await python(
      `${connect}s.settimeout(1)\nsent = 0
try:
  while sent < 50000000: sent += s.send(b'x' * 65536)
except socket.timeout: pass
print(sent < 8000000)
pid = __import__('subprocess').getoutput('pgrep -x egress-forward').strip()
print(int([l for l in open('/proc/%s/status' % pid) if l.startswith('VmRSS')][0].split()[1]) < 6000)`,
    );
    expect(output).toBe('True\nTrue\n');
  });

  test('is there again after the agent killed it, and costs nothing while nobody uses it', async () => {
    serve = shout;
    const before = await pidOf();
    expect(before).toMatch(/^\d+$/);
    await run(sandbox, `kill -9 ${before}`);
    const { output } = await python(
      `${connect}s.sendall(b'again')\ns.shutdown(socket.SHUT_WR)\nprint(s.recv(100).decode())`,
    );
    expect(output).toBe('AGAIN\n');
    expect(await pidOf()).not.toBe(before);
    const used = async () => (await run(sandbox, `cut -d' ' -f14,15 /proc/${await pidOf()}/stat`)).output;
    // What it had to do for the connection may end a moment after that.
    await eventually(async () => {
      const earlier = await used();
      await python('time.sleep(0.5)');
      expect(await used()).toBe(earlier);
    });
  });

  test('ends a connection the gateway does not take', async () => {
    serve = (socket) => socket.destroy();
    const { output } = await python(`${connect}try: print(s.recv(10))
except ConnectionResetError: print(b'')`);
    expect(output).toBe("b''\n");
  });

  attack('proxy', 'a forwarder without a gateway', 'there is none', async () => {
    const none = await stage.open(worker, stage.newSession());
    const { output } = await python(
      "try: socket.create_connection(('127.0.0.1', 3128), timeout=2)\nexcept ConnectionRefusedError: print('refused')",
      none,
    );
    expect(output).toBe('refused\n');
  });
});
