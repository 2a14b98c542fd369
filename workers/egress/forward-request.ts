import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { decideEgress, hostOf, portOf } from '#core/egress/decide-egress.ts';
import { type EgressRecord, pathForRecord } from '#core/egress/egress-record.ts';
import { AppError, isAppError, toAppError } from '#core/kit/errors.ts';
import type { SandboxSpec } from '../sandbox/sandbox.ts';
import { carryBack } from './carry-back.ts';
import { countBytes, type Moved, tooLarge } from './count-bytes.ts';
import type { GatewayDeps } from './gateway-deps.ts';
import { readTarget } from './gateway-target.ts';
import { askedForWhole, headersToSend } from './hop-headers.ts';
import { type PreparedHeaders, putCredentials } from './put-credentials.ts';

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
    ...(spec.turnId === undefined ? {} : { turnId: spec.turnId }),
    agent: spec.agent,
    from: 'sandbox',
    method,
    host: hostOf(url),
    port: portOf(url),
    path: pathForRecord(url),
  } as const;
  const moved: Moved = { sentBytes: 0, receivedBytes: 0 };
  const spend = (bytes: number): boolean => deps.journal.spend(spec.sessionId, bytes);
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
    const bound = { bytesMax: deps.limits.requestBytesMax, spend };
    const body = hasBody(request) ? countedUpload(request, url.host, moved, bound) : undefined;
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
    await carryBack(answer, { response, method, url, base, bytesMax, moved, spend, secrets: prepared.secrets });
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
  host: string,
  moved: Moved,
  bound: { readonly bytesMax: number; readonly spend: (bytes: number) => boolean },
): Readable {
  const what = `The request to ${host}`;
  if (Number(request.headers['content-length'] ?? 0) > bound.bytesMax) throw tooLarge(what, bound.bytesMax);
  const counted = countBytes(moved, 'sentBytes', { ...bound, what });
  // It may end before anybody reads it, where the request is refused on the way.
  counted.on('error', () => undefined);
  // An end that came too early must not look like the end of a shorter body.
  request.once('close', () => {
    if (!request.complete) counted.destroy(new AppError('egress.unreachable', 'The sandbox broke off its request.'));
  });
  return request.pipe(counted);
}

function brokenOff(err: unknown, url: URL): AppError {
  return new AppError('egress.unreachable', `The connection to ${url.host} broke off.`, { cause: err });
}
