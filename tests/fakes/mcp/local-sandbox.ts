import { spawn } from 'node:child_process';
import type { ProcessRequest, Sandbox, SandboxProcess } from '#workers/sandbox/sandbox.ts';

/** Pipes to a program of this machine in place of one in a container; nothing else of a sandbox. */
export function localSandbox(): { readonly sandbox: Sandbox; readonly started: () => number; killAll(): void } {
  const children: ReturnType<typeof spawn>[] = [];
  const start = async (request: ProcessRequest): Promise<SandboxProcess> => {
    const [program = '', ...args] = request.argv;
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...request.environment },
    });
    children.push(child);
    const reading = (async () => {
      for await (const chunk of child.stdout) await request.onStdout(chunk as Buffer);
    })();
    reading.catch(() => child.kill('SIGKILL'));
    child.stderr.on('data', (chunk: Buffer) => request.onStderr?.(chunk));
    child.stdin.on('error', () => undefined);
    request.signal.addEventListener('abort', () => child.kill('SIGKILL'));
    const exited = new Promise<number | undefined>((resolve) =>
      child.once('exit', (code) => resolve(code ?? undefined)),
    );
    return {
      write: async (chunk) =>
        await new Promise((resolve, reject) =>
          child.stdin.write(chunk, (err) => (err === null || err === undefined ? resolve() : reject(err))),
        ),
      hold: () => ({ [Symbol.dispose]: () => undefined }),
      end: () => child.stdin.end(),
      kill: () => void child.kill('SIGKILL'),
      exited,
    };
  };
  const others: ProxyHandler<{ start: typeof start }> = {
    get: (target, name) => {
      if (name === 'start') return target.start;
      if (name === 'then') return undefined;
      throw new Error(`this sandbox has no ${String(name)}`);
    },
  };
  return {
    sandbox: new Proxy({ start }, others) as unknown as Sandbox,
    started: () => children.length,
    killAll: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}
