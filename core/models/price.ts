import type { Micros } from '../kit/money.ts';
import { estimateRequestTokens } from './estimate-tokens.ts';
import type { ModelRequest, Usage } from './model-port.ts';

/** Micro-USD per million tokens. Absent cache prices mean that cached tokens cost what input costs. */
export interface TokenRates {
  readonly inputMicros: Micros;
  readonly outputMicros: Micros;
  readonly cacheReadMicros?: Micros;
  readonly cacheWriteMicros?: Micros;
}

/** What a model costs, and who says so. */
export interface Price {
  readonly source: 'operator' | 'free' | 'catalogue';
  /** Cost of these tokens now, rounded up to whole micro-USD. */
  cost(usage: Usage): Micros;
}

/** A model nobody knows the price of is not free: under a budget it must not be called. */
export type PriceAnswer = Price | 'unpriced';

/** Local servers and the demo model cost nothing, by decision and not by missing data. */
export const freePrice: Price = { source: 'free', cost: () => 0n };

const million = 1_000_000n;

/** A price from an operator's flat rates. */
export function priceFromRates(rates: TokenRates): Price {
  const cacheRead = rates.cacheReadMicros ?? rates.inputMicros;
  const cacheWrite = rates.cacheWriteMicros ?? rates.inputMicros;
  return {
    source: 'operator',
    cost: (usage) => {
      const fresh = Math.max(0, usage.input - usage.cacheRead - usage.cacheWrite);
      const total =
        BigInt(fresh) * rates.inputMicros +
        BigInt(usage.cacheRead) * cacheRead +
        BigInt(usage.cacheWrite) * cacheWrite +
        BigInt(usage.output) * rates.outputMicros;
      return (total + million - 1n) / million;
    },
  };
}

/**
 * The estimator was seen 5 % below one vendor's own count on one of 13 samples; a hold must not be smaller than the call
 * it covers.
 */
const inputMargin = 1.1;

/**
 * The most one call may cost: all input at the dearer of the plain and the cache-write price, and every answer token
 * that is allowed. This is what a budget holds before the call.
 */
export function worstCase(
  price: Price,
  request: Pick<ModelRequest, 'messages' | 'tools' | 'outputTokensMax'> & { readonly model?: string },
): Micros {
  if (price.source === 'free') return 0n;
  const input = Math.ceil(estimateRequestTokens(request) * inputMargin);
  const usage = { input, cacheRead: 0, output: request.outputTokensMax, reasoning: 0, source: 'estimated' } as const;
  const plain = price.cost({ ...usage, cacheWrite: 0 });
  const written = price.cost({ ...usage, cacheWrite: input });
  if (written > plain) return written;
  return plain;
}

/**
 * Whether `id` is `known` itself or a dated release of it. Anything looser would price `claude-sonnet-5-5` as
 * `claude-sonnet-5`, because price data matches by prefix.
 */
export function isExactOrDated(id: string, known: string): boolean {
  const a = id.toLowerCase();
  const b = known.toLowerCase();
  if (a === b) return true;
  return (
    a.startsWith(b) &&
    /^[-@](20\d{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])|(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))$/.test(
      a.slice(b.length),
    )
  );
}
