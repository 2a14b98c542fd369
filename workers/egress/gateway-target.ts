import type { IncomingMessage } from 'node:http';
import { egressMethods } from '#core/egress/egress-rule.ts';

/** Where a request of the sandbox is to go. */
export type GatewayTarget =
  | {
      readonly ok: true;
      readonly url: URL;
      /** Of requests to `http://gateway/<host>/<path>`: what a redirect has to begin with to come this way again. */
      readonly base: string | undefined;
    }
  | { readonly ok: false; readonly status: number; readonly reason: string };

/** Names under which the gateway itself is spoken to; there is no such host outside. */
const ownNames: readonly string[] = [
  'gateway',
  'gateway:80',
  'localhost:3128',
  '127.0.0.1:3128',
  'localhost',
  '127.0.0.1',
];
const ownAuthority = /^http:\/\/(gateway(?::80)?|localhost:3128|127\.0\.0\.1:3128)(?=[/?]|$)/i;
const refuse = (reason: string, status = 400): GatewayTarget => ({ ok: false, status, reason });

/**
 * Reads where a request goes: `GET http://host/path` (plain http, as proxies are asked), or `/<host>[:port]/<path>` below
 * the gateway's own name, which goes out as https. Whatever two readers could read in two ways is refused.
 */
export function readTarget(request: IncomingMessage): GatewayTarget {
  const { method = '', url: raw = '' } = request;
  if (!egressMethods.some((name) => name === method)) return refuse(`The method ${method} is not carried.`, 405);
  const hosts = valuesOf(request, 'host');
  const [host = ''] = hosts;
  if (hosts.length !== 1) return refuse('A request has one Host header.');
  if (/[^\u0021-\u007e]|[\\#]/.test(raw)) return refuse('The address has characters that do not belong there.');
  const own = ownAuthority.exec(raw);
  if (own !== null || raw.startsWith('/')) {
    if (!ownNames.includes(host.toLowerCase())) {
      return refuse(
        own === null
          ? 'This is a proxy: ask for http://host/path, or for http://gateway/<host>/<path> to go out by https.'
          : 'The Host header names another host than the address.',
      );
    }
    return readInner(raw.slice(own?.[0].length ?? 0), `http://${own?.[1] ?? host}`);
  }
  if (!/^http:\/\//i.test(raw))
    return refuse('Only http:// is asked for like this; https goes by CONNECT or by http://gateway/<host>/<path>.');
  const authority = /^http:\/\/([^/?]*)/i.exec(raw)?.[1] ?? '';
  if (authority.includes('@')) return refuse('The address carries a user name or password.');
  const url = URL.parse(raw);
  if (url === null || url.hostname === '') return refuse('The address cannot be read.');
  if (!isSameAuthority(host, authority)) return refuse('The Host header names another host than the address.');
  return { ok: true, url, base: undefined };
}

function readInner(rest: string, base: string): GatewayTarget {
  const inner = /^\/([^/?]+)(.*)$/.exec(rest);
  const authority = inner?.[1] ?? '';
  if (inner === null) return refuse('Say where to: http://gateway/<host>/<path>.');
  if (!/^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i.test(authority)) {
    return refuse('Behind http://gateway/ comes a host, without scheme, user name or escapes.');
  }
  const url = URL.parse(`https://${authority}${inner[2] ?? ''}`);
  return url === null ? refuse('The address cannot be read.') : { ok: true, url, base };
}

/** All values of a header, also where the parser keeps only the first. */
export function valuesOf(request: IncomingMessage, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    if (request.rawHeaders[index]?.toLowerCase() === name) values.push(request.rawHeaders[index + 1] ?? '');
  }
  return values;
}

function isSameAuthority(header: string, authority: string): boolean {
  const plain = (text: string) => text.toLowerCase().replace(/:80$/, '');
  return plain(header) === plain(authority);
}
