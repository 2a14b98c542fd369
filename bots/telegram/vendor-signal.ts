import type { Api } from 'grammy';

export type VendorSignal = NonNullable<Parameters<Api['raw']['getMe']>[0]>;

/** The client is typed with a polyfill's signal; it uses only what Node's own has as well. */
export function toVendorSignal(signal: AbortSignal): VendorSignal {
  return signal as unknown as VendorSignal;
}
