import { isIP, type LookupFunction } from 'node:net';

/** A name server of the test's own: names and their addresses, taken one list per question where there are several. */
export function fakeNames(names: Readonly<Record<string, readonly string[] | readonly (readonly string[])[]>>): {
  readonly lookup: LookupFunction;
  /** Names that were asked for, in order. */
  readonly asked: string[];
} {
  const asked: string[] = [];
  const turns = new Map<string, number>();
  const lookup: LookupFunction = (hostname, options, callback) => {
    asked.push(hostname);
    const turn = turns.get(hostname) ?? 0;
    turns.set(hostname, turn + 1);
    const entry = names[hostname.replace(/\.$/, '')];
    const list = entry?.map((item) => (typeof item === 'string' ? [item] : item)) ?? [];
    const isByTurn = entry?.some((item) => typeof item !== 'string') === true;
    const addresses = (isByTurn ? (list[Math.min(turn, list.length - 1)] ?? []) : list.flat()).map((address) => ({
      address,
      family: isIP(address),
    }));
    setImmediate(() => {
      const [first] = addresses;
      if (first === undefined) callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), '', 0);
      else if (options.all === true) callback(null, addresses, 0);
      else callback(null, first.address, first.family);
    });
  };
  return { lookup, asked };
}
