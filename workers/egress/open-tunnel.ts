import type { IncomingMessage } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decideTunnel, hostOf, portOf } from '#core/egress/decide-egress.ts';
import type { EgressRecord } from '#core/egress/egress-record.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { SandboxSpec } from '../sandbox/sandbox.ts';
import { readClientHello } from './client-hello.ts';
import { countBytes, type Moved } from './count-bytes.ts';
import type { GatewayDeps } from './gateway-deps.ts';
import { valuesOf } from './gateway-target.ts';
import { guardedLookup, literalRefusal } from './reach.ts';
import { toEgressError } from './send-hop.ts';

const connectMs = 10_000;

/** One open tunnel: ended when its host is no longer allowed. */
export interface Tunnel {
  readonly host: string;
  readonly port: number;
  end(): void;
}

/**
 * Answers a CONNECT: opens a tunnel to a host that a rule opens as a whole, for TLS to that very host. Never rejects.
 * @param onOpen is told of the tunnel, and gets back what to call when it is over.
 */
export async function openTunnel(
  deps: GatewayDeps,
  spec: SandboxSpec,
  ask: { readonly request: IncomingMessage; readonly client: Duplex; readonly head: Buffer },
  onOpen: (tunnel: Tunnel) => () => void,
): Promise<void> {
  const { request, client, head } = ask;
  const startedAt = performance.now();
  client.on('error', () => client.destroy());
  const url = readAuthority(request);
  if (url === undefined) return answer(client, 400, 'CONNECT is asked for as host:port, with the same Host header.');
  const host = hostOf(url);
  const port = portOf(url);
  const about = {
    sessionId: spec.sessionId,
    ...(spec.turnId === undefined ? {} : { turnId: spec.turnId }),
    agent: spec.agent,
    from: 'sandbox',
    method: 'CONNECT',
    host,
    port,
    path: '',
  } as const;
  const moved: Moved = { sentBytes: 0, receivedBytes: 0 };
  const record = (end: Pick<EgressRecord, 'verdict'> & Partial<EgressRecord>): void => {
    deps.journal.record({ ...about, ...moved, tookMs: Math.round(performance.now() - startedAt), ...end });
  };
  const admission = await deps.journal.admit(about);
  if (!admission.ok) return answer(client, 429, admission.reason);
  const verdict = decideTunnel(spec.egress ?? [], { host, port }, spec.agent);
  if (verdict.effect === 'refuse') {
    record({ verdict: 'refused', reason: verdict.reason });
    return answer(client, 403, verdict.reason);
  }

  let upstream: Socket;
  try {
    upstream = await dial(deps, host, port);
  } catch (err) {
    const error = toEgressError(err, url);
    const reason = isAppError(error) ? error.text : 'The host could not be reached.';
    const isRefused = isAppError(error, 'egress.refused');
    record({ verdict: isRefused ? 'refused' : 'failed', reason });
    return answer(client, isRefused ? 403 : 502, reason);
  }
  const stop = (reason: AppError): void => {
    client.destroy(reason);
    upstream.destroy(reason);
  };
  const onClose = onOpen({
    host,
    port,
    end: () => stop(new AppError('egress.refused', `${host} is no longer allowed.`)),
  });
  const late = setTimeout(
    () => stop(new AppError('egress.timeout', 'The tunnel was open too long.')),
    deps.limits.tunnelMs,
  );
  try {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    const hello = await readHello(client, head, host, deps.limits.helloMs);
    if (!hello.ok) {
      record({ verdict: 'refused', reason: hello.reason });
      return;
    }
    // Long-lived and invisible inside: that it was opened is on record before its end.
    record({ verdict: 'allowed', reason: 'opened' });
    upstream.setTimeout(deps.limits.tunnelIdleMs, () =>
      stop(new AppError('egress.timeout', 'The tunnel was silent too long.')),
    );
    moved.sentBytes += hello.bytes.length;
    upstream.write(hello.bytes);
    const spend = (bytes: number): boolean => deps.journal.spend(spec.sessionId, bytes);
    spend(hello.bytes.length);
    const bound = { bytesMax: Number.MAX_SAFE_INTEGER, what: 'The tunnel', spend };
    const ways = [
      pipeline(client, countBytes(moved, 'sentBytes', bound), upstream),
      pipeline(upstream, countBytes(moved, 'receivedBytes', bound), client),
    ];
    await Promise.all(ways);
    record({ verdict: 'allowed', reason: 'closed' });
  } catch (err) {
    record({ verdict: 'failed', reason: isAppError(err) ? err.message : 'The connection broke off.' });
  } finally {
    clearTimeout(late);
    client.destroy();
    upstream.destroy();
    onClose();
  }
}

/** The target of a CONNECT in the one form of URLs; undefined when it could be read in two ways. */
function readAuthority(request: IncomingMessage): URL | undefined {
  const raw = request.url ?? '';
  if (!/^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\]):\d{1,5}$/i.test(raw)) return undefined;
  const hosts = valuesOf(request, 'host');
  const names = [raw.toLowerCase(), raw.toLowerCase().replace(/:\d+$/, '')];
  // HTTP/1.0 has no Host; programs that open tunnels still speak it.
  const isOld = request.httpVersion === '1.0' && hosts.length === 0;
  if (!isOld && (hosts.length !== 1 || !names.includes((hosts[0] ?? '').toLowerCase()))) return undefined;
  return URL.parse(`https://${raw}`) ?? undefined;
}

async function dial(deps: GatewayDeps, hostname: string, port: number): Promise<Socket> {
  const refusal = literalRefusal(deps.reach, hostname, port);
  if (refusal !== undefined) throw refusal;
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const socket = connect({ host, port, lookup: guardedLookup(deps.reach, port), allowHalfOpen: true });
  return await new Promise<Socket>((resolve, reject) => {
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error('connect'), { code: 'ETIMEDOUT' })),
      connectMs,
    );
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Waits for the first message of the client and checks that it is TLS to the host the tunnel was opened for. */
async function readHello(
  client: Duplex,
  head: Buffer,
  host: string,
  timeoutMs: number,
): Promise<{ readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly reason: string }> {
  return await new Promise((resolve) => {
    let bytes = head;
    const end = (result: Awaited<ReturnType<typeof readHello>>): void => {
      clearTimeout(timer);
      client.off('data', onData);
      client.off('close', onClose);
      client.pause();
      resolve(result);
    };
    const onClose = () => end({ ok: false, reason: 'The tunnel was closed before it was used.' });
    const timer = setTimeout(() => end({ ok: false, reason: 'The tunnel did not begin with TLS in time.' }), timeoutMs);
    const look = (): void => {
      const hello = readClientHello(bytes);
      if (hello.state === 'partial') return;
      if (hello.state === 'invalid') {
        end({ ok: false, reason: 'The tunnel does not carry TLS.' });
        return;
      }
      const isNamed = hello.serverName?.replace(/\.$/, '') === host;
      const isAddress = isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0 && hello.serverName === undefined;
      if (isNamed || isAddress) end({ ok: true, bytes });
      else
        end({
          ok: false,
          reason: `The tunnel is for ${host}, but its TLS asks for ${printable(hello.serverName) ?? 'no name'}.`,
        });
    };
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      look();
    };
    client.on('data', onData);
    client.once('close', onClose);
    look();
  });
}

function printable(name: string | undefined): string | undefined {
  return name?.slice(0, 100).replaceAll(/[^!-~]/g, '?');
}

/** The end of a connection that becomes no tunnel. Clients show at most the first line of it, so the reason is there too. */
function answer(client: Duplex, status: number, reason: string): void {
  const text = `${reason}\n`;
  const phrase = reason.replaceAll(/[^ -~]/g, ' ').slice(0, 400);
  client.end(
    `HTTP/1.1 ${status} ${phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nx-switchyard-gateway: refused\r\nconnection: close\r\n\r\n${text}`,
  );
}
