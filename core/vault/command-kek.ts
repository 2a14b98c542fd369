import { spawn } from 'node:child_process';
import { createHash, timingSafeEqual } from 'node:crypto';
import { AppError } from '../kit/errors.ts';
import { keyBytes } from './aes-box.ts';
import type { KekSource } from './kek-source.ts';

export interface CommandKekOptions {
  /** Program and first arguments; run as it is, never through a shell. */
  readonly command: readonly string[];
  /** Longest one call may take. */
  readonly timeoutMs: number;
}

const outputBytesMax = 64 * 1024;

/**
 * A key management service behind a program of the operator: `<command> wrap` and `<command> unwrap` read base64 from
 * their standard input and write base64 to their standard output. What is wrapped is the key and the digest of its
 * context, because not every service binds one.
 */
export function openCommandKek(options: CommandKekOptions): KekSource {
  const id = `command:${createHash('sha256').update(JSON.stringify(options.command)).digest('hex').slice(0, 16)}`;
  return {
    id: async () => id,
    wrap: async (_id, key, context) => await run(options, 'wrap', Buffer.concat([key, digestOf(context)])),
    unwrap: async (_id, wrapped, context) => {
      const plain = await run(options, 'unwrap', wrapped);
      const digest = digestOf(context);
      const isOurs = plain.length === keyBytes + digest.length && timingSafeEqual(plain.subarray(keyBytes), digest);
      if (!isOurs) throw new AppError('vault.tampered', 'The key of a secret does not fit its row.');
      return plain.subarray(0, keyBytes);
    },
    // The service changes its keys by itself; wrapping everything anew uses the newest.
    renew: async () => id,
    forgetOlder: async () => undefined,
  };
}

function digestOf(context: Buffer): Buffer {
  return createHash('sha256').update(context).digest();
}

async function run(options: CommandKekOptions, verb: 'wrap' | 'unwrap', input: Buffer): Promise<Buffer> {
  const [program = '', ...args] = options.command;
  const child = spawn(program, [...args, verb], { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const done = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(
    () => done.reject(failed(verb, `did not answer within ${options.timeoutMs / 1000} s`)),
    options.timeoutMs,
  );
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > outputBytesMax) done.reject(failed(verb, 'wrote more than a key'));
    else chunks.push(chunk);
  });
  // A program that does not read its input to the end has its own reasons; its exit code tells.
  child.stdin.on('error', () => undefined);
  child.on('error', (err: NodeJS.ErrnoException) =>
    done.reject(failed(verb, `cannot be run (${err.code ?? 'unknown'})`)),
  );
  child.on('close', (code, signal) => {
    if (code === 0) done.resolve(Buffer.concat(chunks).toString('latin1').trim());
    else done.reject(failed(verb, `ended with ${signal ?? `code ${code}`}`));
  });
  child.stdin.end(`${input.toString('base64')}\n`);
  try {
    const text = await done.promise;
    if (!/^[A-Za-z0-9+/\s]+=*$/.test(text)) throw failed(verb, 'did not write base64');
    return Buffer.from(text, 'base64');
  } catch (err) {
    endGroup(child.pid);
    throw err;
  } finally {
    clearTimeout(timer);
  }
}

/** With whatever it started: a program that hangs is often a script that waits for another one. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** What the program says is not repeated: it may be the key. */
function failed(verb: string, why: string): AppError {
  return new AppError('vault.unavailable', `SWITCHYARD_KMS_COMMAND (${verb}) ${why}.`, {
    mend: 'Run it by hand: it reads base64 from its standard input and writes base64 to its standard output.',
  });
}
