import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

/** Decides by address alone which machines may be reached. */
export interface AddressGuard {
  /** Why this address may not be reached, as a clause such as `it is a private address`; undefined when it may. */
  refusal(address: string): string | undefined;
}

export interface AddressGuardOptions {
  /** Addresses or ranges (CIDR) that are not public and may be reached all the same; by the operator alone. */
  readonly open?: readonly string[];
  /** Addresses or ranges that may not be reached although they are public: our own, for one. Stronger than `open`. */
  readonly closed?: readonly string[];
}

/**
 * Where clouds hand credentials to whoever asks from inside: never reached, whatever an operator opened. From the
 * documentation of AWS (two, and one for containers), Google, Azure, Alibaba and Oracle.
 */
const metadata = ranges([
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
  '168.63.129.16',
  '100.100.100.200',
  '192.0.0.192',
]);

/**
 * Parts of the global unicast space of IPv6 that stand for something else: Teredo and other protocol blocks,
 * documentation, and 6to4, which carries an IPv4 address that nobody checked. Registry: IANA special-purpose addresses.
 */
const specialV6 = ranges(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '2620:4f:8000::/48']);
/** All that was ever given out as global unicast; what lies outside is local, translated, multicast or unassigned. */
const globalV6 = ranges(['2000::/3']);
/** The special blocks of IPv4 by the same registry; the library knows most of them, and this holds without it. */
const specialV4 = ranges([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]);

/**
 * A guard that lets through the public internet, less `closed`, plus `open`. Pure: it resolves nothing.
 * @throws RangeError for something that is no address and no range; check with `isAddressRange` before.
 */
export function createAddressGuard(options: AddressGuardOptions = {}): AddressGuard {
  const open = ranges(options.open ?? []);
  const closed = ranges(options.closed ?? []);
  return {
    refusal: (text) => {
      const address = toAddress(text);
      if (address === undefined) return 'it is no plain address';
      if (isIn(address, metadata)) return 'it is the metadata service of a cloud';
      if (isIn(address, closed)) return 'it is closed here';
      if (isIn(address, open)) return undefined;
      return isPublic(address) ? undefined : `it is ${kindOf(address)}, not the public internet`;
    },
  };
}

/** Whether a text is an IP address or a range such as `10.0.0.0/8`. */
export function isAddressRange(text: string): boolean {
  return toRange(text) !== undefined;
}

function isPublic(address: Address): boolean {
  // The library and the lists must agree: neither has been complete at all times.
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' ? !isIn(address, specialV4) : isIn(address, globalV6) && !isIn(address, specialV6);
}

/** An address in its one form: IPv4 that is written as IPv6 becomes IPv4. A zone id belongs to a local link. */
function toAddress(text: string): Address | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined;
  return ipaddr.process(text);
}

function toRange(text: string): Range | undefined {
  const [base = '', bits, ...rest] = text.split('/');
  if (isIP(base) === 0 || base.includes('%') || rest.length > 0) return undefined;
  const address = ipaddr.parse(base);
  const most = address.kind() === 'ipv4' ? 32 : 128;
  if (bits === undefined) return [ipaddr.process(base), ipaddr.process(base).kind() === 'ipv4' ? 32 : 128];
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > most) return undefined;
  return [address, Number(bits)];
}

function ranges(texts: readonly string[]): readonly Range[] {
  return texts.map((text) => {
    const range = toRange(text);
    if (range === undefined) throw new RangeError(`${text} is no address and no range`);
    return range;
  });
}

function isIn(address: Address, list: readonly Range[]): boolean {
  return list.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits));
}

function kindOf(address: Address): string {
  switch (address.range()) {
    case 'loopback':
      return 'this machine itself';
    case 'unspecified':
      return 'no address of its own';
    case 'private':
    case 'uniqueLocal':
      return 'a private address';
    case 'linkLocal':
      return 'a link-local address';
    case 'carrierGradeNat':
      return 'an address behind a carrier';
    case 'multicast':
    case 'broadcast':
      return 'an address of many';
    case 'rfc6052':
    case 'rfc6145':
    case '6to4':
    case 'teredo':
      return 'a translated address';
    default:
      return 'a reserved address';
  }
}
