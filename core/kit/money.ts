/** Money is integer micro-USD (1 USD = 1,000,000) in a bigint, so that sums are exact and never drift. */
export type Micros = bigint;

const microsPerUsd = 1_000_000;

/** USD as a float to micro-USD, rounded up: a hold or charge may never be smaller than the real cost. */
export function usdToMicros(usd: number): Micros {
  return BigInt(Math.ceil(Number((usd * microsPerUsd).toFixed(6))));
}

/** Micro-USD as a dollar text: two decimals from one cent up, four below it, so that small costs do not read as zero. */
export function formatUsd(micros: Micros): string {
  const usd = Number(micros) / microsPerUsd;
  const decimals = usd !== 0 && Math.abs(usd) < 0.01 ? 4 : 2;
  return `$${usd.toFixed(decimals)}`;
}
