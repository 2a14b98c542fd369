import { z } from 'zod';
import { hostOf, portOf } from '#core/egress/decide-egress.ts';
import { readPath } from '#core/egress/url-path.ts';

const urlCharsMax = 8_192;

/** An address a tool may be given: http or https, without user name, and with a path that has one meaning. */
export const outsideUrlSchema = z
  .string()
  .max(urlCharsMax)
  .superRefine((text, context) => {
    const problem = problemOf(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

/** The resource that grants of `http.request` speak of: host, with the port if it is not the usual one, and path. */
export function resourceOf(url: URL): string {
  const path = readPath(url.pathname);
  const usual = url.protocol === 'https:' ? 443 : 80;
  const port = portOf(url) === usual ? '' : `:${portOf(url)}`;
  return `${hostOf(url)}${port}${path.ok ? path.plain : url.pathname}`;
}

function problemOf(text: string): string | undefined {
  const url = URL.parse(text.trim());
  if (url === null) return 'is no URL; write it like https://host/path';
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'only http and https URLs are fetched';
  if (url.username !== '' || url.password !== '')
    return 'carries a user name or password; use a header with $CRED{name}';
  const path = readPath(url.pathname);
  return path.ok ? undefined : path.reason;
}
