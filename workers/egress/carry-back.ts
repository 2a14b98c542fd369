import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { boundedBody } from './bounded-body.ts';
import { countBytes, type Moved, tooLarge } from './count-bytes.ts';
import { headersToReturn } from './hop-headers.ts';
import { createScrubber } from './scrub.ts';
import type { HopAnswer } from './send-hop.ts';

/** Where an answer goes and what bounds it. */
interface WayBack {
  readonly response: ServerResponse;
  readonly method: string;
  readonly url: URL;
  /** See `GatewayTarget`. */
  readonly base: string | undefined;
  readonly bytesMax: number;
  readonly moved: Moved;
  readonly spend: (bytes: number) => boolean;
  /** Values that must not come back. */
  readonly secrets: readonly string[];
}

/**
 * Carries an answer into the sandbox: without the headers of the connection, without what was put in as a credential,
 * and not more of it than allowed.
 * @throws AppError `egress.too_large`, and whatever either side breaks off with.
 */
export async function carryBack(answer: HopAnswer, way: WayBack): Promise<void> {
  try {
    await carry(answer, way);
  } finally {
    // Whatever ended it, the connection must not stay taken.
    answer.body.destroy();
  }
}

async function carry(answer: HopAnswer, way: WayBack): Promise<void> {
  const { response, url, bytesMax, moved, secrets } = way;
  const hasSecrets = secrets.length > 0;
  const scrubber = createScrubber(secrets);
  const isEmpty = way.method === 'HEAD' || answer.status === 204 || answer.status === 304;
  const what = `The answer of ${url.host}`;
  let headers = headersToReturn(answer.headers, hasSecrets);
  if (!isEmpty && Number(headers['content-length'] ?? 0) > bytesMax) throw tooLarge(what, bytesMax);
  let body: Readable = answer.body;
  if (hasSecrets) {
    const { 'content-encoding': encoding, ...decoded } = headers;
    // Whatever was asked for, it may be encoded; only what is decoded can be searched.
    if (!isEmpty && encoding !== undefined) headers = omitLengths(decoded);
    headers = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [
        scrubber.text(name),
        Array.isArray(value) ? value.map((item) => scrubber.text(item)) : scrubber.text(value),
      ]),
    );
    if (!isEmpty) body = boundedBody(answer.body, { encoding, bytesMax, host: url.host });
  }
  const { location } = headers;
  if (way.base !== undefined && typeof location === 'string') headers['location'] = rebase(location, url, way.base);
  response.writeHead(answer.status, headers);
  if (isEmpty) {
    response.end();
    return;
  }
  // Sent at once: a stream of events begins with a head, and its first line may come much later.
  response.flushHeaders();
  const counted = countBytes(moved, 'receivedBytes', { bytesMax, what, spend: way.spend });
  if (hasSecrets) await pipeline(body, counted, scrubber.stream(), response);
  else await pipeline(body, counted, response);
}

function omitLengths(headers: Readonly<Record<string, string | string[]>>): Record<string, string | string[]> {
  const { 'content-length': _length, etag: _etag, ...rest } = headers;
  return rest;
}

/** A redirect to https would leave the way on which credentials are put in; it is led back onto it. */
function rebase(location: string, url: URL, base: string): string {
  const target = URL.parse(location, url.href);
  if (target === null || target.protocol !== 'https:') return location;
  if (target.username !== '' || target.password !== '') return location;
  return `${base}/${target.host}${target.pathname}${target.search}${target.hash}`;
}
