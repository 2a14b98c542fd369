import { isIP, type LookupFunction } from 'node:net';
import { type AddressGuard, createAddressGuard } from '#core/egress/address-guard.ts';
import { limitedLookup } from './limited-lookup.ts';

/** Where connections to the outside may go. */
export interface Reach {
  /** The public internet unless told. */
  readonly guard?: AddressGuard;
  /** Name look-up; the system's unless told. Asked for all addresses. */
  readonly lookup?: LookupFunction;
  /** `host:port` pairs an operator set up himself, such as a search engine in the house: their address is not judged. */
  readonly trusted?: readonly string[];
  /** Certificates (PEM) that are trusted besides the system's. */
  readonly ca?: string;
}

/** A connection that was not made because of where it would have gone. */
export class BlockedAddressError extends Error {
  readonly host: string;
  readonly reason: string;

  constructor(host: string, reason: string) {
    super(`${host} may not be reached: ${reason}`);
    this.name = 'BlockedAddressError';
    this.host = host;
    this.reason = reason;
  }
}

const publicInternet = createAddressGuard();

/** What is wrong with a host that is an address itself: those are connected to without any look-up. */
export function literalRefusal(reach: Reach, hostname: string, port: number): BlockedAddressError | undefined {
  const host = bare(hostname);
  if (isIP(host) === 0) {
    // A host that URL would not give us, such as one with a zone, must not come as far as a look-up.
    return /[%:\s]/.test(host) ? new BlockedAddressError(hostname, 'it is no host name') : undefined;
  }
  if (isTrusted(reach, hostname, port)) return undefined;
  const reason = (reach.guard ?? publicInternet).refusal(host);
  return reason === undefined ? undefined : new BlockedAddressError(host, reason);
}

/**
 * A name look-up that refuses a name when any of its addresses may not be reached, and hands exactly those addresses
 * to the connection: a second look-up could answer something else. Literal addresses never come here.
 */
export function guardedLookup(reach: Reach, port: number): LookupFunction {
  const lookup = reach.lookup ?? limitedLookup;
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (err, found) => {
      if (err !== null) return callback(err, [], 0);
      const addresses = typeof found === 'string' ? [{ address: found, family: isIP(found) }] : found;
      if (!isTrusted(reach, hostname, port)) {
        for (const { address } of addresses) {
          const reason = (reach.guard ?? publicInternet).refusal(address);
          if (reason !== undefined) return callback(new BlockedAddressError(hostname, reason), [], 0);
        }
      }
      const [first] = addresses;
      if (first === undefined) return callback(new BlockedAddressError(hostname, 'it has no address'), [], 0);
      if (options.all === true) return callback(null, addresses, 0);
      callback(null, first.address, first.family);
    });
  };
}

/** `host:port` as `trusted` has it. */
export function authorityOf(hostname: string, port: number): string {
  return `${hostname.toLowerCase()}:${port}`;
}

function isTrusted(reach: Reach, hostname: string, port: number): boolean {
  return reach.trusted?.includes(authorityOf(hostname, port)) === true;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
