import type { IncomingMessage } from 'node:http';

/** Headers of one connection, not of the message (RFC 9110, 7.6.1), and those a proxy is spoken to with. */
const hopByHop: readonly string[] = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];
/** What a client could only lie about: where it stands is known. */
const claims: readonly string[] = ['forwarded', 'via', 'x-real-ip', 'true-client-ip', 'cf-connecting-ip', 'client-ip'];

/** The headers of a request of the sandbox that go on to the other side, by lower-case name. */
export function headersToSend(request: IncomingMessage): Record<string, string | string[]> {
  const dropped = new Set([
    ...hopByHop,
    ...claims,
    'host',
    'expect',
    'content-length',
    ...namedBy(request.headers.connection),
  ]);
  const headers: Record<string, string | string[]> = {};
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = (request.rawHeaders[index] ?? '').toLowerCase();
    if (dropped.has(name) || name.startsWith('x-forwarded-') || name.startsWith('proxy-')) continue;
    const value = request.rawHeaders[index + 1] ?? '';
    const known = headers[name];
    headers[name] = known === undefined ? value : [known, value].flat();
  }
  return headers;
}

/**
 * The same for a request that carries a credential. Asked for in pieces, a value that is shown back could not be
 * recognised; encoded, not without decoding it.
 */
export function askedForWhole(headers: Readonly<Record<string, string | string[]>>): Record<string, string | string[]> {
  const { range: _range, 'if-range': _ifRange, ...rest } = headers;
  return { ...rest, 'accept-encoding': 'identity' };
}

/** The headers of an answer that go on to the sandbox. */
export function headersToReturn(
  answer: Readonly<Record<string, string | string[] | undefined>>,
  hasCredential: boolean,
): Record<string, string | string[]> {
  const dropped = new Set([
    ...hopByHop,
    'alt-svc',
    'x-switchyard-gateway',
    ...namedBy([answer['connection'] ?? []].flat().join(',')),
  ]);
  // A session that was opened with the credential stands for it.
  if (hasCredential) for (const name of ['set-cookie', 'set-cookie2', 'authentication-info']) dropped.add(name);
  return Object.fromEntries(
    Object.entries(answer).flatMap(([name, value]) =>
      value === undefined || dropped.has(name) ? [] : [[name, value]],
    ),
  );
}

function namedBy(connection: string | undefined): string[] {
  return (connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
}
