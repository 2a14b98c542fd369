import {
  type Logger,
  LogLevel,
  WebAPIHTTPError,
  WebAPIPlatformError,
  WebAPIRateLimitedError,
  WebAPIRequestError,
  WebClient,
} from '@slack/web-api';
import { isHalting, SlackRefusal, SlackSilence, SlackThrottle } from './slack-errors.ts';
import type { SlackMethod } from './slack-methods.ts';

const publicApiUrl = 'https://slack.com/api/';
/** Longest wait for an answer; Slack itself gives up on a call after about ten seconds. */
const answerMs = 15_000;
/** A throttle whose wait could not be read. */
const unnamedWaitMs = 30_000;

/** Slack's Web API with one bot token: one try per call, every failure as one of our own errors. */
export class SlackApi {
  readonly apiUrl: string;
  readonly #client: WebClient;
  readonly #token: string;
  readonly #onHalted: (reason: string) => void;

  constructor(options: {
    readonly token: string;
    readonly apiUrl: string | undefined;
    /** Told when Slack refuses the token itself. */
    readonly onHalted: (reason: string) => void;
  }) {
    this.apiUrl = withSlash(options.apiUrl ?? publicApiUrl);
    this.#token = options.token;
    this.#onHalted = options.onHalted;
    this.#client = new WebClient(options.token, clientOptions(this.apiUrl));
  }

  /** @throws SlackRefusal, SlackThrottle or SlackSilence. */
  async call(method: SlackMethod, parameters: Record<string, unknown> = {}): Promise<unknown> {
    try {
      return await this.#client.apiCall(method, parameters);
    } catch (err) {
      const failure = toFailure(method, err);
      if (isHalting(failure)) this.#onHalted(failure.message);
      throw failure;
    }
  }

  /** Fetches what only the bot may read. The token goes to Slack's own hosts and nowhere else. */
  async fetchPrivate(url: string, signal: AbortSignal): Promise<Response | undefined> {
    if (!this.#isOwnHost(url)) return undefined;
    return await fetch(url, { headers: { authorization: `Bearer ${this.#token}` }, redirect: 'manual', signal });
  }

  #isOwnHost(address: string): boolean {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url === undefined) return false;
    if (url.origin === new URL(this.apiUrl).origin) return true;
    return url.protocol === 'https:' && /(?:^|\.)(?:slack\.com|slack-files\.com|slack-edge\.com)$/.test(url.hostname);
  }
}

/**
 * Settings of every client of the vendor's library. Its own defaults would repeat a message whose answer was lost, hold
 * all calls of a process while one is throttled, and wait for ever. A new object for each client: some of them write
 * into it.
 */
export function clientOptions(apiUrl: string) {
  return {
    slackApiUrl: apiUrl,
    retryConfig: { retries: 0 },
    timeout: answerMs,
    rejectRateLimitedCalls: true,
    allowAbsoluteUrls: false,
    logger: silentLogger,
  };
}

/** The library logs addresses that hold tickets; what matters of it comes back as an error. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  setLevel: () => undefined,
  getLevel: () => LogLevel.ERROR,
  setName: () => undefined,
};

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`;
}

/** Any error of the vendor's client as one of ours, without tokens and without message texts. */
export function toFailure(method: string, err: unknown): SlackRefusal | SlackThrottle | SlackSilence {
  if (err instanceof WebAPIRateLimitedError) return new SlackThrottle(method, Math.max(1, err.retryAfter) * 1_000);
  if (err instanceof WebAPIPlatformError) return toRefusal(method, err.data);
  if (err instanceof WebAPIHTTPError) {
    return new SlackSilence(method, err.statusCode !== 503, `HTTP ${err.statusCode}`);
  }
  if (err instanceof WebAPIRequestError) return fromTransport(method, err.original);
  if (err instanceof Error && err.message.startsWith('Retry header')) return new SlackThrottle(method, unnamedWaitMs);
  return fromTransport(method, err);
}

/** A failed `fetch` as one of our errors. */
export function fromTransport(method: string, err: unknown): SlackSilence {
  const cause = err instanceof Error && err.cause !== undefined ? err.cause : err;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // Only these say for sure that nothing was sent.
  const isUnsent = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code);
  const name = err instanceof Error ? err.name : 'unknown';
  const isLate = name === 'TimeoutError';
  return new SlackSilence(method, !isUnsent, isLate ? 'it took too long' : code === '' ? name : code);
}

interface RefusedAnswer {
  readonly error: string;
  readonly needed?: unknown;
  readonly provided?: unknown;
  readonly response_metadata?: { readonly messages?: readonly string[] };
}

function toRefusal(method: string, answer: RefusedAnswer): SlackRefusal | SlackSilence {
  const { error } = answer;
  // A page of a proxy in place of an answer.
  if (!/^[\w.-]{1,100}$/.test(error)) return new SlackSilence(method, true, 'an answer that is not JSON');
  const details: string[] = [];
  if (typeof answer.needed === 'string') details.push(`needs the scope ${answer.needed}`);
  if (typeof answer.provided === 'string') details.push(`has ${answer.provided}`);
  const [pointer] = answer.response_metadata?.messages ?? [];
  if (pointer !== undefined) details.push(pointer.slice(0, 200));
  return new SlackRefusal(method, error, details.join('; '));
}
