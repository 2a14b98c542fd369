import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';

/**
 * Asks a Redis server for its version over its own wire format. The queue's client is not used: it reconnects for ever
 * and hides why.
 * @returns the version, or throws an error whose message holds no password.
 */
export async function probeRedis(url: string, timeoutMs: number): Promise<string> {
  const { protocol, hostname, port, username, password } = new URL(url);
  const target = { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 6379 : Number(port) };
  const socket = protocol === 'rediss:' ? connectTls({ ...target, servername: target.host }) : connectPlain(target);
  try {
    return await new Promise<string>((resolve, reject) => {
      let answer = '';
      socket.setTimeout(timeoutMs, () => reject(new Error(`no answer within ${timeoutMs / 1000} s`)));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the server closed the connection')));
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        answer += chunk;
        const version = /redis_version:([\w.]+)/.exec(answer)?.[1];
        const refusal = /^-(.*)\r\n/m.exec(answer)?.[1];
        // A password that the server does not ask for is no obstacle; the queue's client passes over it, too.
        if (refusal !== undefined && !refusal.includes('without any password')) reject(new Error(refusal));
        else if (version !== undefined) resolve(version);
      });
      const login =
        password === ''
          ? []
          : [command('AUTH', ...(username === '' ? [] : [decodeURIComponent(username)]), decodeURIComponent(password))];
      socket.write([...login, command('INFO', 'server')].join(''));
    });
  } finally {
    socket.destroy();
  }
}

function command(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}
