/** One request to the outside, as the audit has it. Never a secret: of a query only the names are kept. */
export interface EgressRecord {
  readonly sessionId: string;
  readonly turnId?: string;
  readonly agent: string;
  readonly from: 'tools' | 'sandbox';
  readonly method: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** `refused`: not made; `failed`: made, and not answered to the end. */
  readonly verdict: 'allowed' | 'refused' | 'failed';
  readonly reason?: string;
  readonly status?: number;
  /** Names of the vault entries that were put in. */
  readonly credentials?: readonly string[];
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly tookMs: number;
}

const pathCharsMax = 300;
const namesMax = 20;

/** Path and query of a URL without the values of the query, which may be secrets. */
export function pathForRecord(url: URL): string {
  const names = [...new Set([...url.searchParams.keys()].map((name) => name.slice(0, 60)))];
  const shown = names.slice(0, namesMax).map((name) => `${encodeURIComponent(name)}=`);
  const query = names.length === 0 ? '' : `?${shown.join('&')}${names.length > namesMax ? '&…' : ''}`;
  const path = url.pathname;
  return (path.length > pathCharsMax ? `${path.slice(0, pathCharsMax)}…` : path) + query;
}
