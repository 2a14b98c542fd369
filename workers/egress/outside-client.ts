import { decideEgress, hostOf, portOf } from '#core/egress/decide-egress.ts';
import { type EgressRecord, pathForRecord } from '#core/egress/egress-record.ts';
import type { EgressRule } from '#core/egress/egress-rule.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import { boundedBody, readUpTo } from './bounded-body.ts';
import type { EgressJournal } from './egress-journal.ts';
import { askedForWhole } from './hop-headers.ts';
import { putCredentials } from './put-credentials.ts';
import { createScrubber } from './scrub.ts';
import { checkUrl, type HopAnswer, type HopSender, toEgressError } from './send-hop.ts';

/** For whom a request is made. */
interface OutsideCaller {
  readonly sessionId: string;
  readonly turnId: string;
  readonly agent: string;
  readonly rules: readonly EgressRule[];
}

interface OutsideRequest {
  readonly url: URL;
  readonly method: string;
  /** Lower-case names; `$CRED{name}` stands for a credential. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Bytes of the answer that are read, after decompression; the rest is dropped. */
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

export interface OutsideAnswer {
  readonly status: number;
  /** Where it came from, after redirects on the same host. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  readonly isCut: boolean;
  /** Set when it redirects to where the caller has to ask for anew. */
  readonly redirect?: URL;
}

/** Makes the requests of an agent's own tools, by the agent's rules. */
export interface OutsideClient {
  /** @throws AppError `egress.*`, and those of the credential source. */
  request(caller: OutsideCaller, request: OutsideRequest): Promise<OutsideAnswer>;
}

const redirectsMax = 5;
const redirectStatuses: readonly number[] = [301, 302, 303, 307, 308];
const firstByteMs = 30_000;
const idleMs = 30_000;
const totalMs = 60_000;
/** How the message is framed and where it goes is not for whoever writes the headers. */
const framing: readonly string[] = [
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'accept-encoding',
];

/**
 * Opens the client. Each hop is decided by the rules, guarded, counted and put on record. Redirects are followed on the
 * same host only: for another one the agent's grants were never asked.
 */
export function createOutsideClient(deps: {
  readonly sender: Pick<HopSender, 'send'>;
  readonly journal: Pick<EgressJournal, 'admit' | 'spend' | 'record'>;
  readonly credentials: CredentialSource;
}): OutsideClient {
  const hop = async (caller: OutsideCaller, request: OutsideRequest, signal: AbortSignal): Promise<OutsideAnswer> => {
    const { url, method } = request;
    const startedAt = performance.now();
    const about = {
      sessionId: caller.sessionId,
      turnId: caller.turnId,
      agent: caller.agent,
      from: 'tools',
      method,
      host: hostOf(url),
      port: portOf(url),
      path: pathForRecord(url),
    } as const;
    const moved = { sentBytes: request.body?.byteLength ?? 0, receivedBytes: 0 };
    let names: readonly string[] = [];
    const record = (end: Pick<EgressRecord, 'verdict'> & Partial<EgressRecord>): void => {
      const credentials = names.length === 0 ? {} : { credentials: names };
      deps.journal.spend(caller.sessionId, moved.sentBytes + moved.receivedBytes);
      deps.journal.record({
        ...about,
        ...moved,
        ...credentials,
        tookMs: Math.round(performance.now() - startedAt),
        ...end,
      });
    };
    checkUrl(url, { allowsHttp: true, ports: 'any' });
    const admission = await deps.journal.admit(about);
    if (!admission.ok) throw new AppError('egress.refused', admission.reason);
    const verdict = decideEgress(caller.rules, { from: 'tools', method, url }, caller.agent);
    if (verdict.effect === 'refuse') {
      record({ verdict: 'refused', reason: verdict.reason });
      throw new AppError('egress.refused', verdict.reason);
    }
    try {
      const allowed = Object.entries(request.headers).filter(([name]) => !framing.includes(name));
      const prepared = await putCredentials(deps, {
        agent: caller.agent,
        url,
        rule: verdict.rule,
        headers: {
          accept: '*/*',
          'user-agent': 'switchyard',
          ...Object.fromEntries(allowed),
          'accept-encoding': 'gzip, br',
        },
      });
      names = prepared.names;
      const hasSecrets = prepared.secrets.length > 0;
      const answer = await deps.sender.send({
        url,
        method,
        headers: hasSecrets ? askedForWhole(prepared.headers) : prepared.headers,
        signal,
        firstByteMs,
        idleMs,
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      const scrubber = createScrubber(prepared.secrets);
      const { bytes, isCut } = await readBody(answer, method, Math.min(request.bytesMax, admission.bytesLeft), url);
      moved.receivedBytes = bytes.length;
      record({ verdict: 'allowed', status: answer.status });
      const headers = Object.fromEntries(
        Object.entries(answer.headers).flatMap(([name, value]) =>
          value === undefined || (hasSecrets && name === 'set-cookie')
            ? []
            : [[name, scrubber.text([value].flat().join(', '))]],
        ),
      );
      return { status: answer.status, url, headers, bytes: scrubber.bytes(bytes, isCut), isCut };
    } catch (err) {
      const error = toEgressError(err, url, signal);
      const { code, message } = toAppError(error);
      record({
        verdict: code === 'egress.refused' || code.startsWith('credential.') ? 'refused' : 'failed',
        reason: message,
      });
      throw error;
    }
  };

  return {
    request: async (caller, request) => {
      const late = new AbortController();
      const timer = setTimeout(
        () => late.abort(new AppError('egress.timeout', `${request.url.host} took too long.`)),
        totalMs,
      );
      const signal = AbortSignal.any([request.signal, late.signal]);
      try {
        let at = request;
        for (let redirects = 0; ; redirects++) {
          const answer = await hop(caller, at, signal);
          const target = redirectOf(answer);
          if (target === undefined) return answer;
          const isGet = at.method === 'GET' || at.method === 'HEAD';
          const becomesGet = answer.status === 303 || (answer.status < 303 && at.method === 'POST');
          // The same host, or the same one by TLS.
          const isSame =
            target.host === at.url.host && (target.protocol === at.url.protocol || target.protocol === 'https:');
          if (!isSame || !(isGet || becomesGet)) return { ...answer, redirect: target };
          if (redirects === redirectsMax) {
            throw new AppError('egress.refused', `${at.url.host} redirects more than ${redirectsMax} times.`);
          }
          const { body: _body, ...rest } = at;
          const headers = Object.fromEntries(
            Object.entries(at.headers).filter(([name]) => isGet || !name.startsWith('content-')),
          );
          at = { ...rest, url: target, method: isGet ? at.method : 'GET', headers };
        }
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

async function readBody(
  answer: HopAnswer,
  method: string,
  bytesMax: number,
  url: URL,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> {
  if (method === 'HEAD' || answer.status === 204 || answer.status === 304) {
    answer.body.resume();
    return { bytes: Buffer.alloc(0), isCut: false };
  }
  const encoding = answer.headers['content-encoding'];
  // One byte more, so that the reader sees that there is more, and the decoder still stops a flood.
  return await readUpTo(
    boundedBody(answer.body, { encoding, bytesMax: bytesMax + (1 << 20), host: url.host }),
    bytesMax,
  );
}

function redirectOf(answer: OutsideAnswer): URL | undefined {
  const location = answer.headers['location'];
  if (!redirectStatuses.includes(answer.status) || location === undefined) return undefined;
  return URL.parse(location, answer.url.href) ?? undefined;
}
