import type { MatchLogic, ModelInfo } from '@pydantic/genai-prices';
import { usdToMicros } from '../kit/money.ts';
import type { Usage } from './model-port.ts';
import { isExactOrDated, type Price } from './price.ts';

type Calculate = typeof import('@pydantic/genai-prices').calcPrice;

/**
 * Looks a model up in the price data that comes with the product (no network). It counts only when the data names the id
 * itself or the id is a dated release of a named one. Tiers and dated price changes apply at the time of the cost.
 * @returns undefined when the data does not know the model.
 */
export async function cataloguePrice(provider: string, model: string): Promise<Price | undefined> {
  // 2 MB of data and 50 ms: loaded when the first paid model is priced, not at start.
  const { calcPrice } = await import('@pydantic/genai-prices');
  const found = calculate(calcPrice, provider, model, { input_tokens: 0, output_tokens: 0 });
  if (found === null || !knownIds(found.model).some((known) => isExactOrDated(model, known))) return undefined;
  return {
    source: 'catalogue',
    cost: (usage) => {
      const result = calculate(calcPrice, provider, model, catalogueUsage(usage));
      return usdToMicros(result?.total_price ?? 0);
    },
  };
}

function calculate(calcPrice: Calculate, provider: string, model: string, usage: Record<string, number>) {
  // Ids in the data are lower case but for a few; matching ignores case, as vendors do.
  return calcPrice(usage, model, { providerId: provider });
}

function catalogueUsage(usage: Usage): Record<string, number> {
  return {
    // The data's input includes cached tokens as ours does, and refuses more cached tokens than input.
    input_tokens: Math.max(usage.input, usage.cacheRead + usage.cacheWrite),
    cache_read_tokens: usage.cacheRead,
    cache_write_tokens: usage.cacheWrite,
    output_tokens: usage.output,
    ...(usage.outputImage === undefined ? {} : { output_image_tokens: usage.outputImage }),
  };
}

/** The ids a model's matching rules spell out; patterns are left out, because they also match models not in the data. */
function knownIds(model: ModelInfo): string[] {
  return [model.id, ...literals(model.match)];
}

function literals(match: MatchLogic): string[] {
  if ('equals' in match) return [match.equals];
  if ('starts_with' in match) return [match.starts_with];
  if ('or' in match) return match.or.flatMap(literals);
  if ('and' in match) return match.and.flatMap(literals);
  return [];
}
