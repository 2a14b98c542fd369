import { z } from 'zod';

/** Methods a rule may name; `*` stands for all of them. */
export const egressMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

const label = '(?!-)[a-z0-9-]{1,63}(?<!-)';
const namePattern = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`);

/** `example.org`, `*.example.org`, an IPv4 address, an IPv6 address in brackets, or `*`. */
const hostSchema = z
  .string()
  .max(253)
  .refine(isHostPattern, 'is a host such as api.example.org or *.example.org, in lower case, without scheme and port');

/**
 * One line of the way out of an agent: what it may reach. What no rule covers is refused. The meaning of each key is in
 * docs/guide/web-access.md.
 */
export const egressRuleSchema = z.strictObject({
  host: hostSchema,
  methods: z
    .array(z.enum([...egressMethods, '*']))
    .min(1)
    .default(['GET', 'HEAD']),
  /** Globs on the path: `*` within a segment, `**` across. */
  paths: z
    .array(z.string().regex(/^\/[\u0021-\u007e]*$/, 'begins with / and is plain ASCII'))
    .min(1)
    .default(['/**']),
  ports: z.array(z.int().min(1).max(65_535)).min(1).default([443, 80]),
  /** Whether it holds for the platform's own tools, for what runs in the sandbox, or for both. */
  from: z.enum(['tools', 'sandbox', 'both']).default('both'),
  /** Name of a vault entry that is put into each request. */
  credential: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,63}$/)
    .optional(),
  /** The header it is put in; `authorization` unless told. */
  header: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/)
    .optional(),
  /** The word before it; `Bearer` in `authorization` and none elsewhere unless told. `Basic` encodes `user:password`. */
  scheme: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9-]{0,31}$/)
    .optional(),
});

export type EgressRule = z.infer<typeof egressRuleSchema>;

/** Headers that say how a message is framed or routed: a credential in one of them would break it. */
const unfitHeaders = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade', 'expect']);

/** What is wrong with a rule beyond its shape; `key` is where. */
export function ruleProblems(rule: EgressRule): readonly { readonly key: string; readonly message: string }[] {
  const problems: { readonly key: string; readonly message: string }[] = [];
  if (rule.credential === undefined) {
    for (const key of ['header', 'scheme'] as const) {
      if (rule[key] !== undefined)
        problems.push({ key, message: `${key} says how a credential is sent; name one too` });
    }
    return problems;
  }
  if (rule.host === '*') {
    problems.push({
      key: 'credential',
      message: 'a credential needs the hosts it belongs to; "*" would send it anywhere',
    });
  }
  if (rule.header !== undefined && unfitHeaders.has(rule.header.toLowerCase())) {
    problems.push({ key: 'header', message: `${rule.header} cannot carry a credential` });
  }
  if (rule.ports.every((port) => port === 80)) {
    problems.push({ key: 'ports', message: 'a credential is sent over TLS only; port 80 has none' });
  }
  return problems;
}

/** How the credential of a rule is written into a header. */
export function credentialHeader(rule: EgressRule, value: string): { readonly name: string; readonly value: string } {
  const name = (rule.header ?? 'authorization').toLowerCase();
  const scheme = rule.scheme ?? (name === 'authorization' ? 'Bearer' : undefined);
  if (scheme === undefined) return { name, value };
  const isBasic = scheme.toLowerCase() === 'basic' && value.includes(':');
  return { name, value: `${scheme} ${isBasic ? Buffer.from(value).toString('base64') : value}` };
}

/** @param host lower case, no port, no final dot, IPv6 in brackets: as `URL` gives it. */
export function coversHost(pattern: string, host: string): boolean {
  if (pattern === '*' || pattern === host) return true;
  return pattern.startsWith('*.') && host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

function isHostPattern(text: string): boolean {
  if (text === '*') return true;
  const host = text.startsWith('*.') ? text.slice(2) : text;
  if (!namePattern.test(text) && !/^\[[0-9a-f:.]+\]$/.test(text)) return false;
  // Another way of writing the same host would never match.
  return URL.parse(`http://${host}/`)?.hostname === host;
}
