import { Readable } from 'node:stream';
import type { ReadableStream as NodeWebStream } from 'node:stream/web';
import { AppError } from '#core/kit/errors.ts';
import { boundedBody } from './bounded-body.ts';
import type { Reach } from './reach.ts';
import { checkUrl, type HopAnswer, openHopSender, toEgressError } from './send-hop.ts';

export interface GuardedFetchOptions extends Reach {
  /** Plain http besides https; never by itself. */
  readonly allowsHttp?: boolean;
  /** 443, and 80 where http is allowed, unless told. */
  readonly ports?: readonly number[] | 'any';
  readonly redirectsMax?: number;
  /** Bytes of an answer after decompression. 10 MiB unless told. */
  readonly responseBytesMax?: number;
  readonly requestBytesMax?: number;
  /** Longest wait for the head of an answer. */
  readonly firstByteMs?: number;
  /** Longest silence in a body; 0 for none, for streams of events. */
  readonly idleMs?: number;
  /** Longest time for everything, redirects and body included; 0 for none. */
  readonly totalMs?: number;
}

const mebibyte = 1 << 20;
const redirectStatuses: readonly number[] = [301, 302, 303, 307, 308];
/** What may be told to another host than the one it was meant for. */
const harmlessHeaders: readonly string[] = [
  'accept',
  'accept-encoding',
  'accept-language',
  'content-type',
  'user-agent',
  'mcp-protocol-version',
];

/**
 * A `fetch` for addresses that somebody else named: servers of other people, links, endpoints from a document. It only
 * reaches where the guard lets it, at the first address and after each redirect; it takes headers of its caller to no
 * other host than the one they were given for, never goes from https to http, and bounds headers, bytes and time.
 *
 * Bodies to be sent are held in memory, because a redirect may need them again. Rejects with AppError `egress.refused`,
 * `egress.timeout`, `egress.too_large`, `egress.unreachable`, or with the reason of the caller's signal.
 */
export function createGuardedFetch(options: GuardedFetchOptions = {}): typeof fetch {
  const {
    allowsHttp = false,
    ports = allowsHttp ? [443, 80] : [443],
    redirectsMax = 5,
    responseBytesMax = 10 * mebibyte,
    requestBytesMax = 10 * mebibyte,
    firstByteMs = 30_000,
    idleMs = 30_000,
    totalMs = 60_000,
  } = options;
  const sender = openHopSender(options);

  return async (input, init) => {
    const request = new Request(input, init);
    let url = new URL(request.url);
    let method = request.method;
    let headers = headersOf(request.headers);
    const sent = Buffer.from(await request.arrayBuffer());
    if (sent.length > requestBytesMax) {
      throw new AppError(
        'egress.too_large',
        `The request to ${url.host} has ${sent.length} bytes; ${requestBytesMax} are allowed.`,
      );
    }
    let body = sent.length === 0 && !['POST', 'PUT', 'PATCH'].includes(method) ? undefined : sent;
    const late = new AbortController();
    const timer = totalMs === 0 ? undefined : setTimeout(() => late.abort(timeoutOf(url)), totalMs);
    const signal = AbortSignal.any([request.signal, late.signal]);
    try {
      for (let redirects = 0; ; redirects++) {
        signal.throwIfAborted();
        checkUrl(url, { allowsHttp, ports });
        const answer = await sender.send({
          url,
          method,
          headers,
          signal,
          firstByteMs,
          idleMs,
          ...(body === undefined ? {} : { body }),
        });
        const target = request.redirect === 'manual' ? undefined : redirectOf(answer, url);
        if (target === undefined) {
          return toResponse(answer, {
            url,
            method,
            isRedirected: redirects > 0,
            bytesMax: responseBytesMax,
            signal,
            timer,
          });
        }
        answer.body.destroy();
        if (request.redirect === 'error') throw refused(url, 'it redirects, and that was not wanted');
        if (redirects === redirectsMax) throw refused(url, `it redirects more than ${redirectsMax} times`);
        if (url.protocol === 'https:' && target.protocol !== 'https:')
          throw refused(url, 'it redirects from https to http');
        if ((answer.status === 303 && method !== 'HEAD') || (answer.status < 303 && method === 'POST')) {
          method = 'GET';
          body = undefined;
          headers = omit(headers, (name) => name.startsWith('content-'));
        }
        if (target.origin !== url.origin) {
          if (body !== undefined) throw refused(url, 'it redirects a request with a body to another host');
          headers = omit(headers, (name) => !harmlessHeaders.includes(name));
        }
        url = target;
      }
    } catch (err) {
      clearTimeout(timer);
      throw toEgressError(err, url, signal);
    }
  };
}

function headersOf(given: Headers): Record<string, string> {
  const headers: Record<string, string> = { accept: '*/*', 'accept-encoding': 'gzip, br', 'user-agent': 'switchyard' };
  const framing = [
    'host',
    'connection',
    'content-length',
    'transfer-encoding',
    'expect',
    'upgrade',
    'keep-alive',
    'te',
  ];
  given.forEach((value, name) => {
    // Where it goes and how it is framed follows from the URL and the body alone.
    if (!framing.includes(name)) headers[name] = value;
  });
  return headers;
}

function redirectOf(answer: HopAnswer, base: URL): URL | undefined {
  const { location } = answer.headers;
  if (!redirectStatuses.includes(answer.status) || typeof location !== 'string') return undefined;
  const target = URL.parse(location, base.href);
  if (target === null) throw refused(base, 'it redirects to something that is no address');
  return target;
}

function toResponse(
  answer: HopAnswer,
  about: {
    readonly url: URL;
    readonly method: string;
    readonly isRedirected: boolean;
    readonly bytesMax: number;
    readonly signal: AbortSignal;
    readonly timer: NodeJS.Timeout | undefined;
  },
): Response {
  const { url, timer } = about;
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headers)) {
    // They speak of the bytes on the wire, which the reader does not see.
    if (name === 'content-encoding' || name === 'content-length' || name === 'transfer-encoding') continue;
    for (const item of [value ?? []].flat()) headers.append(name, item);
  }
  const isEmpty = about.method === 'HEAD' || [101, 204, 205, 304].includes(answer.status);
  if (isEmpty) {
    clearTimeout(timer);
    answer.body.resume();
    return named(new Response(null, { status: answer.status === 101 ? 502 : answer.status, headers }), about);
  }
  const body = boundedBody(answer.body, {
    encoding: answer.headers['content-encoding'],
    bytesMax: about.bytesMax,
    host: url.host,
  });
  body.once('close', () => clearTimeout(timer));
  const stream: NodeWebStream<Uint8Array> = Readable.toWeb(body);
  return named(new Response(stream, { status: answer.status, headers }), about);
}

/** A response that is made by hand has no address, and readers of documents need one. */
function named(response: Response, about: { readonly url: URL; readonly isRedirected: boolean }): Response {
  Object.defineProperty(response, 'url', { value: about.url.href });
  Object.defineProperty(response, 'redirected', { value: about.isRedirected });
  return response;
}

function omit(headers: Readonly<Record<string, string>>, isOut: (name: string) => boolean): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isOut(name)));
}

function refused(url: URL, why: string): AppError {
  return new AppError('egress.refused', `${url.host} is refused: ${why}.`);
}

function timeoutOf(url: URL): AppError {
  return new AppError('egress.timeout', `${url.host} took too long.`);
}
