import { compileGlob } from '../permissions/glob.ts';
import { coversHost, type EgressRule } from './egress-rule.ts';
import { readPath } from './url-path.ts';

/** One request to the outside, before it is made. */
export interface EgressRequest {
  readonly from: 'tools' | 'sandbox';
  readonly method: string;
  /** As `new URL` gives it: hosts, numbers and paths are in one form then. */
  readonly url: URL;
}

export type EgressVerdict =
  | { readonly effect: 'allow'; readonly rule: EgressRule }
  /** `reason` is one or two sentences for whoever asked, with what would have to be added. */
  | { readonly effect: 'refuse'; readonly reason: string };

/** Of a path, in a refusal. */
const pathCharsMax = 200;

/** The port a URL goes to. */
export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}

/** The host of a URL in the one form that rules and credentials use. */
export function hostOf(url: URL): string {
  return url.hostname.toLowerCase().replace(/\.$/, '');
}

/**
 * Whether the rules of an agent let a request out; the first rule that covers it decides how. Pure: the address behind
 * the name is the guard's affair.
 */
export function decideEgress(rules: readonly EgressRule[], request: EgressRequest, agent: string): EgressVerdict {
  const { method, url, from } = request;
  const host = hostOf(url);
  const port = portOf(url);
  const path = readPath(url.pathname);
  const target = `${method} ${host}${port === 443 || port === 80 ? '' : `:${port}`}${url.pathname.slice(0, pathCharsMax)}`;
  if (!path.ok) return { effect: 'refuse', reason: `${target} is refused: ${path.reason}.` };
  const forHost = rules.filter((rule) => coversHost(rule.host, host) && isFrom(rule, from));
  const rule = forHost.find(
    (item) => coversMethod(item, method) && item.ports.includes(port) && coversPath(item, path.readings),
  );
  if (rule !== undefined) return { effect: 'allow', rule };
  return { effect: 'refuse', reason: `${target} is refused: ${missing(forHost, { method, host, port, from, agent })}` };
}

/**
 * Whether a tunnel may be opened, in which neither method nor path can be seen: only a rule that covers all of them and
 * has no credential allows that.
 */
export function decideTunnel(
  rules: readonly EgressRule[],
  target: { readonly host: string; readonly port: number },
  agent: string,
): EgressVerdict {
  const { host, port } = target;
  const refuse = (why: string): EgressVerdict => ({
    effect: 'refuse',
    reason: `CONNECT ${host}:${port} is refused: ${why}`,
  });
  const forHost = rules.filter((rule) => coversHost(rule.host, host) && isFrom(rule, 'sandbox'));
  const open = forHost.filter((rule) => rule.ports.includes(port));
  const base = `Use http://gateway/${host}${port === 443 ? '' : `:${port}`}/<path> instead of https://${host}/<path>`;
  if (open.some((rule) => rule.credential !== undefined)) {
    return refuse(`a credential is put into requests to it, which a tunnel would not let in. ${base}.`);
  }
  const rule = open.find((item) => item.methods.includes('*') && item.paths.includes('/**'));
  if (rule !== undefined) return { effect: 'allow', rule };
  if (open.length > 0) {
    return refuse(
      `its rule is limited to some methods or paths, which a tunnel hides. ${base}, or allow methods: ['*'].`,
    );
  }
  return refuse(missing(forHost, { method: '*', host, port, from: 'sandbox', agent }));
}

function missing(
  forHost: readonly EgressRule[],
  request: {
    readonly method: string;
    readonly host: string;
    readonly port: number;
    readonly from: 'tools' | 'sandbox';
    readonly agent: string;
  },
): string {
  const { method, host, port, from, agent } = request;
  const where = `the egress rules of agents/${agent}.md`;
  if (forHost.length === 0) {
    const ports = port === 443 || port === 80 ? '' : `, ports: [${port}]`;
    const methods = method === 'GET' || method === 'HEAD' ? '' : `, methods: ['${method}']`;
    return `no rule covers this host for ${from === 'tools' ? 'tools' : 'the sandbox'}. An operator can add { host: ${quoted(host)}${methods}${ports} } to ${where}.`;
  }
  if (!forHost.some((rule) => rule.ports.includes(port))) {
    return `the rule for this host opens port ${list(forHost.flatMap((rule) => rule.ports))}. An operator can add ports: [${port}] in ${where}.`;
  }
  if (!forHost.some((rule) => coversMethod(rule, method))) {
    return `the rule for this host allows ${list(forHost.flatMap((rule) => rule.methods))}. An operator can add methods: [${method}] in ${where}.`;
  }
  return `the rule for this host covers the paths ${list(forHost.flatMap((rule) => rule.paths))} only. An operator can add another in ${where}.`;
}

function quoted(host: string): string {
  return /^[a-z0-9]/.test(host) ? host : `'${host}'`;
}

function list(items: readonly (string | number)[]): string {
  const shown = [...new Set(items)];
  return shown.length > 8 ? `${shown.slice(0, 8).join(', ')} …` : shown.join(', ');
}

function isFrom(rule: EgressRule, from: 'tools' | 'sandbox'): boolean {
  return rule.from === 'both' || rule.from === from;
}

function coversMethod(rule: EgressRule, method: string): boolean {
  return rule.methods.some((item) => item === '*' || item === method);
}

function coversPath(rule: EgressRule, readings: readonly string[]): boolean {
  if (rule.paths.includes('/**')) return true;
  const globs = rule.paths.map(compileGlob);
  return readings.every((reading) => globs.some((glob) => glob.matches(reading)));
}
