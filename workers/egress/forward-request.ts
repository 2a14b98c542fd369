import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decideEgress, hostOf, portOf } from '#core/egress/decide-egress.ts';
import { type EgressRecord, pathForRecord } from '#core/egress/egress-record.ts';
import { AppError, isAppError, toAppError } from '#core/kit/errors.ts';
import type { SandboxSpec } from '../sandbox/sandbox.ts';
import { boundedBody } from './bounded-body.ts';
import type { GatewayDeps } from './gateway-deps.ts';
import { readTarget } from './gateway-target.ts';
import { askedForWhole, headersToReturn, headersToSend } from './hop-headers.ts';
import { type PreparedHeaders, putCredentials } from './put-credentials.ts';
import { createScrubber, type Scrubber } from './scrub.ts';
import type { HopAnswer } from './send-hop.ts';

/** Answers one request of a sandbox: refuses it with a reason, or carries it out and back. Never rejects. */
export async function forwardRequest(
  deps: GatewayDeps,
  spec: SandboxSpec,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  const target = readTarget(request);
  if (!target.ok) return refuse(request, response, target.status, target.reason);
  const { url, base } = target;
  const method = request.method ?? '';
  const about = {
    sessionId: spec.sessionId,
    agent: spec.agent,
    from: 'sandbox',
    method,
    host: hostOf(url),
    port: portOf(url),
    path: pathForRecord(url),
  } as const;
  const moved = { sentBytes: 0, receivedBytes: 0 };
  const move = (key: keyof typeof moved, bytes: number): void => {
    moved[key] += bytes;
    if (!deps.journal.spend(spec.sessionId, bytes)) throw new AppError('egress.too_large', 'The bytes of this day are used up.');
  };
  const record = (end: Pick<EgressRecord, 'verdict'> & Partial<EgressRecord>): void => {
    deps.journal.record({ ...about, ...moved, tookMs: Math.round(performance.now() - startedAt), ...end });
  };

  const admission = await deps.journal.admit(about);
  if (!admission.ok) {
    response.setHeader('retry-after', String(admission.retryAfterSeconds));
    return refuse(request, response, 429, admission.reason);
  }
  const verdict = decideEgress(spec.egress ?? [], { from: 'sandbox', method, url }, spec.agent);
  if (verdict.effect === 'refuse') {
    record({ verdict: 'refused', reason: verdict.reason });
    return refuse(request, response, 403, verdict.reason);
  }

  let prepared: PreparedHeaders;
  try {
    const headers = headersToSend(request);
    prepared = await putCredentials(deps, { agent: spec.agent, url, rule: verdict.rule, headers });
  } catch (err) {
    const error = toAppError(err);
    record({ verdict: 'refused', reason: error.code });
    if (!error.isForChat) deps.log.error({ err, sessionId: spec.sessionId }, 'credential could not be opened');
    return refuse(
      request,
      response,
      403,
      error.isForChat ? error.text : 'A credential could not be opened; the operator can see why.',
    );
  }

  const credentials = prepared.names.length === 0 ? {} : { credentials: prepared.names };
  const bytesMax = Math.min(deps.limits.responseBytesMax, admission.bytesLeft);
  const stop = new AbortController();
  const timer = setTimeout(
    () => stop.abort(new AppError('egress.timeout', `${url.host} took too long.`)),
    deps.limits.totalMs,
  );
  // Whoever asked has gone; nobody is left to answer.
  response.once('close', () => stop.abort(new AppError('egress.unreachable', 'The sandbox closed the connection.')));
  let status: number | undefined;
  try {
    const body = hasBody(request) ? countedUpload(request, deps.limits.requestBytesMax, url.host, move) : undefined;
    if (request.headers.expect !== undefined) response.writeContinue();
    const answer = await deps.sender.send({
      url,
      method,
      headers: prepared.secrets.length === 0 ? prepared.headers : askedForWhole(prepared.headers),
      signal: stop.signal,
      firstByteMs: deps.limits.firstByteMs,
      idleMs: deps.limits.idleMs,
      ...(body === undefined ? {} : { body }),
    });
    status = answer.status;
    await carryBack(answer, { response, method, url, base, bytesMax, moved, secrets: prepared.secrets });
    record({ verdict: 'allowed', status, ...credentials });
  } catch (err) {
    const error = isAppError(err) ? err : brokenOff(err, url);
    const isRefused = error.code === 'egress.refused';
    record({
      verdict: isRefused ? 'refused' : 'failed',
      reason: error.message,
      ...(status === undefined ? {} : { status }),
      ...credentials,
    });
    if (response.headersSent) response.destroy();
    else refuse(request, response, isRefused ? 403 : error.code === 'egress.timeout' ? 504 : 502, error.text);
  } finally {
    clearTimeout(timer);
  }
}

/** Answers with a reason a person can read, and lets go of a body that is still coming. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, reason: string): void {
  if (response.destroyed || response.headersSent) return;
  const text = `${reason}\n`;
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'x-switchyard-gateway': 'refused',
    // The rest of a body nobody reads would be taken for the next request.
    ...(hasBody(request) ? { connection: 'close' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}

function hasBody(request: IncomingMessage): boolean {
  const { 'transfer-encoding': encoding, 'content-length': length } = request.headers;
  return encoding !== undefined || (length !== undefined && Number(length) > 0);
}

function countedUpload(
  request: IncomingMessage,
  bytesMax: number,
  host: string,
  moved: { sentBytes: number },
): Readable {
  const tooLarge = () =>
    new AppError('egress.too_large', `The request to ${host} has more than the ${bytesMax} bytes allowed.`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge();
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      moved.sentBytes += chunk.length;
      if (moved.sentBytes > bytesMax) done(tooLarge());
      else done(null, chunk);
    },
  });
  // An end that came too early must not look like the end of a shorter body.
  request.once('close', () => {
    if (!request.complete) counted.destroy(new AppError('egress.unreachable', 'The sandbox broke off its request.'));
  });
  return request.pipe(counted);
}

async function carryBack(
  answer: HopAnswer,
  way: {
    readonly response: ServerResponse;
    readonly method: string;
    readonly url: URL;
    readonly base: string | undefined;
    readonly bytesMax: number;
    readonly moved: { receivedBytes: number };
    readonly secrets: readonly string[];
  },
): Promise<void> {
  const { response, url, bytesMax, moved, secrets } = way;
  const hasSecrets = secrets.length > 0;
  const scrubber: Scrubber | undefined = hasSecrets ? createScrubber(secrets) : undefined;
  let headers = headersToReturn(answer.headers, hasSecrets);
  const encoding = headers['content-encoding'];
  const isEmpty = way.method === 'HEAD' || answer.status === 204 || answer.status === 304;
  let body: Readable = answer.body;
  if (!isEmpty && Number(headers['content-length'] ?? 0) > bytesMax) {
    answer.body.on('error', () => undefined).destroy();
    throw new AppError('egress.too_large', `The answer of ${url.host} is larger than the ${bytesMax} bytes allowed.`);
  }
  if (scrubber !== undefined) {
    // Whatever it was asked for, it may be encoded; only what is decoded can be searched.
    if (!isEmpty && encoding !== undefined) {
      const { 'content-encoding': _encoding, 'content-length': _length, etag: _etag, ...rest } = headers;
      headers = rest;
    }
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
    answer.body.on('error', () => undefined).resume();
    response.end();
    return;
  }
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      moved.receivedBytes += chunk.length;
      if (moved.receivedBytes > bytesMax) {
        const left = chunk.length - (moved.receivedBytes - bytesMax);
        if (left > 0) this.push(chunk.subarray(0, left));
        moved.receivedBytes = bytesMax;
        done(
          new AppError('egress.too_large', `The answer of ${url.host} is larger than the ${bytesMax} bytes allowed.`),
        );
      } else done(null, chunk);
    },
  });
  // Sent at once: a stream of events begins with a head, and its first line may come much later.
  response.flushHeaders();
  if (scrubber === undefined) await pipeline(body, counted, response);
  else await pipeline(body, counted, scrubber.stream(), response);
}

/** A redirect to https would leave the way on which credentials are put in; it is led back onto it. */
function rebase(location: string, url: URL, base: string): string {
  const target = URL.parse(location, url.href);
  if (target === null || target.protocol !== 'https:' || target.username !== '' || target.password !== '')
    return location;
  return `${base}/${target.host}${target.pathname}${target.search}${target.hash}`;
}

function brokenOff(err: unknown, url: URL): AppError {
  return new AppError('egress.unreachable', `The connection to ${url.host} broke off.`, { cause: err });
}
