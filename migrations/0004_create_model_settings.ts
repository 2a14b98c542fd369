import { type Kysely, sql } from 'kysely';

/** Prices an operator set, and the cool-downs of models and credentials that all workers share. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Micro-USD per million tokens. A row wins over the price data that comes with the product.
    create table model_price (
      provider text not null,
      model text not null,
      input_micros bigint not null check (input_micros >= 0),
      output_micros bigint not null check (output_micros >= 0),
      cache_read_micros bigint check (cache_read_micros >= 0),
      cache_write_micros bigint check (cache_write_micros >= 0),
      updated_at timestamptz not null default clock_timestamp(),
      primary key (provider, model)
    );

    -- Until when a model is left alone, and why. Model '*' stands for the provider's whole credential.
    create table model_cooldown (
      provider text not null,
      model text not null,
      until timestamptz not null,
      reason text not null check (reason in ('auth', 'billing', 'rate', 'overloaded', 'transient', 'timeout', 'protocol')),
      failures integer not null default 1 check (failures > 0),
      updated_at timestamptz not null default clock_timestamp(),
      primary key (provider, model)
    );
  `.execute(db);
}
