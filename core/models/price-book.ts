import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { ModelRef } from './model-ref.ts';
import { freePrice, type Price, type PriceAnswer, priceFromRates, type TokenRates } from './price.ts';
import { cataloguePrice } from './price-catalogue.ts';
import type { PriceStore } from './price-store.ts';
import { providerOf } from './providers.ts';
import { createRefresher } from './refresher.ts';

/** How long a price changed in the database may take to reach a running worker. */
const refreshMs = 30_000;

export interface PriceBook {
  /** Never guesses: a model that neither the operator nor the price data names exactly is `unpriced`. */
  priceOf(ref: ModelRef): Promise<PriceAnswer>;
  /** Reads the operator's prices again now. */
  refresh(): Promise<void>;
}

/**
 * Prices in order of authority: rows an operator set, settings (keyed by `provider:model`), free local providers, the
 * price data that comes with the product. Answers from memory; rows are read again in the background.
 */
export function createPriceBook(deps: {
  readonly store: PriceStore;
  readonly settings: Readonly<Record<string, TokenRates | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
}): PriceBook {
  const rows = createRefresher({
    load: async () => {
      const list = await deps.store.list();
      return new Map(list.map((row) => [`${row.provider}:${row.model}`, priceFromRates(row.rates)]));
    },
    fallback: new Map<string, Price>(),
    refreshMs,
    clock: deps.clock,
    log: deps.log,
    what: 'model prices',
  });
  const catalogue = new Map<string, Promise<Price | undefined>>();

  return {
    priceOf: async (ref) => {
      const row = (await rows.current()).get(ref.text);
      if (row !== undefined) return row;
      const rates = deps.settings[ref.text];
      if (rates !== undefined) return priceFromRates(rates);
      const provider = providerOf(ref.provider);
      if (provider.isLocal || provider.priceProvider === undefined) return freePrice;
      let known = catalogue.get(ref.text);
      if (known === undefined) {
        known = cataloguePrice(provider.priceProvider, ref.model);
        catalogue.set(ref.text, known);
      }
      return (await known) ?? 'unpriced';
    },
    refresh: () => rows.refresh(),
  };
}
