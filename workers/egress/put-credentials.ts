import { hostOf } from '#core/egress/decide-egress.ts';
import { credentialHeader, type EgressRule } from '#core/egress/egress-rule.ts';
import { AppError } from '#core/kit/errors.ts';
import { type CredentialSource, credentialHandle } from '#core/vault/credential.ts';

/** Headers with their credentials, and what must not come back. */
export interface PreparedHeaders {
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Every value that was put in, in each form it was written. */
  readonly secrets: readonly string[];
  /** Names of the vault entries they came from. */
  readonly names: readonly string[];
}

/**
 * Puts credentials into the headers of one request: that of its rule, and those that handles (`$CRED{name}`) stand for,
 * also inside the base64 of Basic authentication. Handles anywhere else stay as they are.
 * @param headers names in lower case.
 * @throws AppError `egress.refused` when a credential would go over an open line, and those of the credential source.
 */
export async function putCredentials(
  deps: { readonly credentials: CredentialSource },
  request: {
    readonly agent: string;
    readonly url: URL;
    readonly rule: EgressRule;
    readonly headers: Readonly<Record<string, string | string[]>>;
  },
): Promise<PreparedHeaders> {
  const { agent, url, rule } = request;
  const host = hostOf(url).replace(/^\[(.*)\]$/, '$1');
  const secrets = new Set<string>();
  const names = new Set<string>();
  const open = async (name: string): Promise<string> => {
    if (url.protocol !== 'https:') {
      throw new AppError('egress.refused', `The credential ${name} is not sent to ${url.host} over plain http.`, {
        mend: `Use https, or http://gateway/${url.host}/<path> in the sandbox.`,
      });
    }
    const value = await deps.credentials.resolve(name, { agent, host });
    // A line break in a value would begin another header.
    if (/[\r\n\0]/.test(value)) {
      throw new AppError(
        'egress.refused',
        `The credential ${name} holds a line break and cannot be put into a header.`,
      );
    }
    names.add(name);
    secrets.add(value);
    return value;
  };
  const replaced: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    replaced[name] = Array.isArray(value)
      ? await Promise.all(value.map(async (item) => await fill(item, open, secrets)))
      : await fill(value, open, secrets);
  }
  if (rule.credential !== undefined) {
    const value = await open(rule.credential);
    const header = credentialHeader(rule, value);
    replaced[header.name] = header.value;
    // `user:password` may come back as the password alone.
    const password = value.slice(value.indexOf(':') + 1);
    if (header.value.includes(' ')) secrets.add(header.value.slice(header.value.indexOf(' ') + 1));
    if (rule.scheme?.toLowerCase() === 'basic') secrets.add(password);
  }
  return { headers: replaced, secrets: [...secrets], names: [...names] };
}

async function fill(value: string, open: (name: string) => Promise<string>, secrets: Set<string>): Promise<string> {
  const basic = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(value)?.[1];
  if (basic !== undefined) {
    const plain = Buffer.from(basic, 'base64').toString();
    const filled = await replaceHandles(plain, open);
    if (filled === plain) return value;
    const encoded = Buffer.from(filled).toString('base64');
    secrets.add(encoded);
    return `Basic ${encoded}`;
  }
  return await replaceHandles(value, open);
}

async function replaceHandles(text: string, open: (name: string) => Promise<string>): Promise<string> {
  let filled = '';
  let at = 0;
  for (const match of text.matchAll(credentialHandle)) {
    filled += text.slice(at, match.index) + (await open(match[1] ?? ''));
    at = match.index + match[0].length;
  }
  return filled + text.slice(at);
}
