import type { Db } from '../kit/database.ts';
import type { TokenRates } from './price.ts';

type PriceTables = {
  model_price: {
    provider: string;
    model: string;
    input_micros: bigint;
    output_micros: bigint;
    cache_read_micros: bigint | null;
    cache_write_micros: bigint | null;
  };
};

/** A price an operator set for one model. */
export interface PriceRow {
  readonly provider: string;
  readonly model: string;
  readonly rates: TokenRates;
}

export interface PriceStore {
  list(): Promise<PriceRow[]>;
  /** Sets or replaces the price of one model. */
  put(row: PriceRow): Promise<void>;
  /** Goes back to the price data that comes with the product. */
  remove(provider: string, model: string): Promise<void>;
}

export function createPriceStore(deps: { readonly db: Db }): PriceStore {
  const db = deps.db.withTables<PriceTables>();
  return {
    list: async () =>
      (await db.selectFrom('model_price').selectAll().execute()).map((row) => ({
        provider: row.provider,
        model: row.model,
        rates: {
          inputMicros: row.input_micros,
          outputMicros: row.output_micros,
          ...(row.cache_read_micros === null ? {} : { cacheReadMicros: row.cache_read_micros }),
          ...(row.cache_write_micros === null ? {} : { cacheWriteMicros: row.cache_write_micros }),
        },
      })),
    put: async ({ provider, model, rates }) => {
      const values = {
        input_micros: rates.inputMicros,
        output_micros: rates.outputMicros,
        cache_read_micros: rates.cacheReadMicros ?? null,
        cache_write_micros: rates.cacheWriteMicros ?? null,
      };
      await db
        .insertInto('model_price')
        .values({ provider, model, ...values })
        .onConflict((conflict) => conflict.columns(['provider', 'model']).doUpdateSet(values))
        .execute();
    },
    remove: async (provider, model) => {
      await db.deleteFrom('model_price').where('provider', '=', provider).where('model', '=', model).execute();
    },
  };
}
