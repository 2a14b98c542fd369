import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import { Agent, buildConnector, request } from 'undici';
import { portOf } from '#core/egress/decide-egress.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { BlockedAddressError, guardedLookup, literalRefusal, type Reach } from './reach.ts';

/** Bytes of all headers of an answer. */
const headerBytesMax = 16_384;
const connectMs = 10_000;
/** Connections to one host at the same time. */
const connectionsMax = 32;

/** One request to one address; redirects are the caller's affair. */
interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body?: Uint8Array | Readable;
  readonly signal: AbortSignal;
  /** Longest wait for the head of the answer. */
  readonly firstByteMs: number;
  /** Longest silence in its body; 0 for no bound. */
  readonly idleMs: number;
}

/** An answer as it came: undecoded, unbounded. Whoever has it reads or destroys the body. */
export interface HopAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
}

/** Makes requests over connections that only go where they may. */
export interface HopSender extends AsyncDisposable {
  /** @throws AppError `egress.refused`, `egress.timeout`, `egress.too_large`, `egress.unreachable`. */
  send(hop: Hop): Promise<HopAnswer>;
}

/** Opens a pool of guarded connections: every one passes the guard when it is made, whatever asked for it. */
export function openHopSender(reach: Reach = {}): HopSender {
  const agent = new Agent({
    connect: createConnector(reach),
    connections: connectionsMax,
    pipelining: 1,
    maxHeaderSize: headerBytesMax,
    allowH2: false,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
  });
  return {
    send: async ({ url, method, headers, body, signal, firstByteMs, idleMs }) => {
      try {
        const answer = await request(url, {
          dispatcher: agent,
          method,
          headers,
          signal,
          headersTimeout: firstByteMs,
          bodyTimeout: idleMs,
          ...(body === undefined ? {} : { body }),
        });
        // It may fail while nobody reads it, and must not take the process along.
        answer.body.on('error', () => undefined);
        return { status: answer.statusCode, headers: answer.headers, body: answer.body };
      } catch (err) {
        throw toEgressError(err, url, signal);
      }
    },
    [Symbol.asyncDispose]: async () => await agent.destroy(),
  };
}

/** What failed on the way out as one of the room's errors; none names an address of ours. */
export function toEgressError(err: unknown, url: URL, signal?: AbortSignal): Error {
  if (isAppError(err)) return err;
  // A cancel of the turn is no failure of the other side.
  if (signal?.aborted === true && signal.reason instanceof Error) {
    return signal.reason;
  }
  const host = url.host;
  for (let cause: unknown = err; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof BlockedAddressError) {
      return new AppError('egress.refused', `${host} is refused: ${cause.reason}.`, {
        mend: 'Only an operator can open addresses of a private network: egress.open in switchyard.yaml.',
        cause: err,
      });
    }
  }
  const code = codeOf(err);
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return new AppError('egress.timeout', `${host} did not answer in time.`, { cause: err });
    case 'UND_ERR_HEADERS_OVERFLOW':
      return new AppError('egress.too_large', `${host} answered with more than ${headerBytesMax} bytes of headers.`, {
        cause: err,
      });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new AppError('egress.unreachable', `The name ${url.hostname} could not be resolved.`, { cause: err });
    default:
      return new AppError('egress.unreachable', `${host} could not be reached${because(code)}.`, { cause: err });
  }
}

function because(code: string | undefined): string {
  if (code === undefined) return '';
  if (/CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code)) return `: its certificate is not trusted (${code})`;
  if (/^(HPE_|UND_ERR_|ERR_SSL|EPROTO)/.test(code)) return `: it speaks no proper HTTP (${code})`;
  return ` (${code})`;
}

function codeOf(err: unknown): string | undefined {
  if (!(err instanceof Error)) return undefined;
  if ('code' in err && typeof err.code === 'string') return err.code;
  if (err instanceof AggregateError) return codeOf(err.errors[0]);
  return codeOf(err.cause);
}

/**
 * Connections for undici. The check of literal addresses and the look-up are both needed: Node never looks up what is
 * an address already.
 */
function createConnector(reach: Reach): buildConnector.connector {
  const byPort = new Map<number, buildConnector.connector>();
  const connectorOf = (port: number): buildConnector.connector => {
    const known = byPort.get(port);
    if (known !== undefined) return known;
    const connector = buildConnector({
      timeout: connectMs,
      allowH2: false,
      lookup: guardedLookup(reach, port),
      ...(reach.ca === undefined ? {} : { ca: [...rootCertificates, reach.ca] }),
    });
    byPort.set(port, connector);
    return connector;
  };
  return (options, callback) => {
    const port = options.port === '' ? (options.protocol === 'https:' ? 443 : 80) : Number(options.port);
    const refusal = literalRefusal(reach, options.hostname, port);
    if (refusal !== undefined) return callback(refusal, null);
    connectorOf(port)(options, callback);
  };
}

/** @throws AppError `egress.refused` for a URL no request is made to, whatever the rules are. */
export function checkUrl(
  url: URL,
  options: { readonly allowsHttp: boolean; readonly ports: readonly number[] | 'any' },
): void {
  const refuse = (why: string) => new AppError('egress.refused', `${url.protocol}//${url.host} is refused: ${why}.`);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && options.allowsHttp)) {
    throw refuse(options.allowsHttp ? 'only http and https are spoken' : 'only https is allowed here');
  }
  if (url.username !== '' || url.password !== '') throw refuse('it carries a user name or password');
  if (url.hostname === '') throw refuse('it has no host');
  if (options.ports !== 'any' && !options.ports.includes(portOf(url))) {
    throw refuse(`port ${portOf(url)} is not one of ${options.ports.join(', ')}`);
  }
}
