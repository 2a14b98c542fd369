import { z } from 'zod';
import { hostOf, portOf } from '#core/egress/decide-egress.ts';
import { type EgressRecord, pathForRecord } from '#core/egress/egress-record.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import type { EgressJournal } from './egress-journal.ts';
import { createGuardedFetch } from './guarded-fetch.ts';
import { authorityOf, type Reach } from './reach.ts';

/** What an operator set up for searching the web. */
export interface SearchSettings {
  readonly brave: { readonly key: string | undefined; readonly url: string | undefined };
  readonly tavily: { readonly key: string | undefined; readonly url: string | undefined };
  readonly searxng: { readonly url: string | undefined };
}

/** For whom a search is made, and whose keys in the vault may be used. */
interface SearchCaller {
  readonly sessionId: string;
  readonly turnId: string;
  readonly agent: string;
}

interface SearchQuery {
  readonly text: string;
  readonly count: number;
  /** Only what is at most this old. */
  readonly freshness?: 'day' | 'week' | 'month' | 'year';
  readonly caller: SearchCaller;
  readonly signal: AbortSignal;
}

interface SearchResult {
  readonly title: string;
  readonly url: string;
  readonly snippet: string;
  readonly published?: string;
}

interface Engine {
  readonly name: string;
  search(query: SearchQuery, key: string): Promise<readonly SearchResult[]>;
  /** Undefined: it is not set up. */
  key(agent: string): Promise<string | undefined>;
}

/** Searches the web with whichever engine is set up; the next one stands in for one that fails. */
export type SearchWeb = (
  query: SearchQuery,
) => Promise<{ readonly engine: string; readonly results: readonly SearchResult[] }>;

const braveUrl = 'https://api.search.brave.com';
const tavilyUrl = 'https://api.tavily.com';
const answerBytesMax = 4 << 20;
const text = z.string().catch('');

/** Shape of an answer of Brave's web search. */
const braveSchema = z.object({
  web: z
    .object({
      results: z.array(
        z.object({ title: text, url: z.string(), description: text, page_age: z.string().optional().catch(undefined) }),
      ),
    })
    .optional(),
});
const tavilySchema = z.object({
  results: z.array(
    z.object({ title: text, url: z.string(), content: text, published_date: z.string().nullish().catch(undefined) }),
  ),
});
const searxngSchema = z.object({
  results: z.array(
    z.object({ title: text, url: z.string(), content: text, publishedDate: z.string().nullish().catch(undefined) }),
  ),
});

/**
 * Opens the search engines in the order Brave, Tavily, SearXNG. Their addresses are the operator's own and may be in a
 * private network; nothing they redirect to may.
 */
export function createSearchWeb(
  deps: {
    readonly credentials: CredentialSource;
    readonly reach: Reach;
    readonly journal: Pick<EgressJournal, 'admit' | 'spend' | 'record'>;
  },
  settings: SearchSettings,
): SearchWeb {
  const urls = [settings.brave.url, settings.tavily.url, settings.searxng.url].flatMap((url) => url ?? []);
  const guarded = createGuardedFetch({
    ...deps.reach,
    trusted: [...(deps.reach.trusted ?? []), ...urls.map(trustedOf)],
    allowsHttp: true,
    ports: 'any',
    responseBytesMax: answerBytesMax,
    firstByteMs: 15_000,
    totalMs: 20_000,
  });
  const ask = async (engine: string, url: URL, init: RequestInit, caller: SearchCaller): Promise<unknown> => {
    const about = {
      ...caller,
      from: 'tools',
      method: init.method ?? 'GET',
      host: hostOf(url),
      port: portOf(url),
      path: pathForRecord(url),
    } as const;
    const admission = await deps.journal.admit(about);
    if (!admission.ok) throw new AppError('egress.refused', admission.reason);
    const startedAt = performance.now();
    const moved = { sentBytes: Buffer.byteLength(typeof init.body === 'string' ? init.body : ''), receivedBytes: 0 };
    const record = (end: Pick<EgressRecord, 'verdict'> & Partial<EgressRecord>): void => {
      deps.journal.spend(caller.sessionId, moved.sentBytes + moved.receivedBytes);
      deps.journal.record({ ...about, ...moved, tookMs: Math.round(performance.now() - startedAt), ...end });
    };
    let status: number;
    let text: string;
    try {
      // A redirect is no answer of a search API; following one would take the key along.
      const response = await guarded(url, { ...init, redirect: 'error' });
      status = response.status;
      text = await response.text();
    } catch (err) {
      record({ verdict: 'failed', reason: toAppError(err).message });
      throw err;
    }
    moved.receivedBytes = Buffer.byteLength(text);
    record({ verdict: 'allowed', status });
    if (status < 200 || status > 299) throw failure(engine, status);
    try {
      return JSON.parse(text);
    } catch (err) {
      throw new AppError('egress.unreachable', `${engine} answered with something that is no JSON.`, { cause: err });
    }
  };
  const fromVault =
    (name: string, host: string) =>
    async (agent: string): Promise<string | undefined> => {
      try {
        return await deps.credentials.resolve(name, { agent, host });
      } catch (err) {
        if (toAppError(err).code.startsWith('credential.')) return undefined;
        throw err;
      }
    };
  const keyOf = (own: string | undefined, name: string, url: string) => async (agent: string) =>
    own ?? (await fromVault(name, new URL(url).hostname)(agent));

  const brave: Engine = {
    name: 'Brave',
    key: keyOf(settings.brave.key, 'brave', settings.brave.url ?? braveUrl),
    search: async ({ text: q, count, freshness, signal, caller }, key) => {
      const url = below(settings.brave.url ?? braveUrl, '/res/v1/web/search');
      url.searchParams.set('q', q);
      url.searchParams.set('count', String(count));
      if (freshness !== undefined) url.searchParams.set('freshness', `p${freshness[0] ?? 'y'}`);
      const headers = { accept: 'application/json', 'x-subscription-token': key };
      const raw = await ask('Brave', url, { headers, signal }, caller);
      const found = parse('Brave', braveSchema, raw).web?.results ?? [];
      return found.map((item) => ({
        title: item.title,
        url: item.url,
        snippet: item.description,
        ...(item.page_age === undefined ? {} : { published: item.page_age }),
      }));
    },
  };
  const tavily: Engine = {
    name: 'Tavily',
    key: keyOf(settings.tavily.key, 'tavily', settings.tavily.url ?? tavilyUrl),
    search: async ({ text: query, count, freshness, signal, caller }, key) => {
      const body = {
        query,
        max_results: count,
        search_depth: 'basic',
        ...(freshness === undefined ? {} : { time_range: freshness }),
      };
      const headers = {
        accept: 'application/json',
        'content-type': 'application/json',
        authorization: `Bearer ${key}`,
      };
      const url = below(settings.tavily.url ?? tavilyUrl, '/search');
      const raw = await ask('Tavily', url, { method: 'POST', headers, body: JSON.stringify(body), signal }, caller);
      return parse('Tavily', tavilySchema, raw).results.map(({ published_date, ...item }) =>
        toResult(item, published_date),
      );
    },
  };
  const searxng: Engine = {
    name: 'SearXNG',
    key: async () => (settings.searxng.url === undefined ? undefined : ''),
    search: async ({ text: q, count, freshness, signal, caller }) => {
      const url = below(settings.searxng.url ?? '', '/search');
      url.searchParams.set('q', q);
      url.searchParams.set('format', 'json');
      if (freshness !== undefined) url.searchParams.set('time_range', freshness);
      const raw = await ask('SearXNG', url, { headers: { accept: 'application/json' }, signal }, caller);
      const found = parse('SearXNG', searxngSchema, raw).results.slice(0, count);
      return found.map(({ publishedDate, ...item }) => toResult(item, publishedDate));
    },
  };

  return async (query) => {
    let failed: AppError | undefined;
    for (const engine of [brave, tavily, searxng]) {
      const key = await engine.key(query.caller.agent);
      if (key === undefined) continue;
      try {
        return { engine: engine.name, results: (await engine.search(query, key)).slice(0, query.count) };
      } catch (err) {
        query.signal.throwIfAborted();
        failed = toAppError(err);
        if (!failed.code.startsWith('egress.')) throw err;
      }
    }
    throw (
      failed ??
      new AppError('egress.refused', 'No search engine is set up.', {
        mend: 'An operator sets BRAVE_API_KEY, TAVILY_API_KEY or SEARXNG_URL, or puts a key named brave or tavily into the vault.',
      })
    );
  };
}

function below(base: string, path: string): URL {
  return new URL(base.replace(/\/+$/, '') + path);
}

function trustedOf(base: string): string {
  const url = new URL(base);
  return authorityOf(url.hostname, url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port));
}

function toResult(
  item: { readonly title: string; readonly url: string; readonly content: string },
  published: string | null | undefined,
): SearchResult {
  const { title, url, content } = item;
  return { title, url, snippet: content, ...(published === null || published === undefined ? {} : { published }) };
}

function parse<T>(engine: string, schema: z.ZodType<T>, raw: unknown): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw new AppError('egress.unreachable', `${engine} answered in a form that is not known.`, { cause: parsed.error });
}

function failure(engine: string, status: number): AppError {
  switch (status) {
    case 401:
      return new AppError('egress.unreachable', `${engine} refuses the key (401).`, {
        mend: 'An operator sets another one.',
      });
    case 403:
      return new AppError('egress.unreachable', `${engine} refuses the search (403).`, {
        mend:
          engine === 'SearXNG'
            ? 'Its settings.yml must list json under search.formats.'
            : 'An operator checks key and plan.',
      });
    case 429:
      return new AppError('egress.unreachable', `${engine} takes no more searches for now (429).`, {
        mend: 'Try again later.',
      });
    default:
      return new AppError('egress.unreachable', `${engine} answered ${status}.`);
  }
}
