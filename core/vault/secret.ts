import { isIP } from 'node:net';
import { coversHost } from '../egress/egress-rule.ts';
import { AppError } from '../kit/errors.ts';
import { compileGlob } from '../permissions/glob.ts';
import { secretCharsMin } from '../redaction/secret-forms.ts';
import type { CredentialUse } from './credential.ts';

/** Who may use a secret, and for which hosts. Empty on either side: nobody. */
export interface SecretScope {
  /** Names of agents; `*` stands for any characters. */
  readonly agents: readonly string[];
  /** `api.example.org`, `*.example.org` (any name below it, not itself), or an address. */
  readonly hosts: readonly string[];
}

/** One version of a secret as it is kept. Only its seal says whether the rest of the row is true. */
export interface SealedSecret extends SecretScope {
  readonly secretId: string;
  readonly name: string;
  readonly version: number;
  readonly kekId: string;
  /** The key of this version, wrapped by the key of `kekId`. */
  readonly wrappedKey: Buffer;
  /** Nonce, ciphertext and tag. */
  readonly sealed: Buffer;
}

/** What may be seen of a secret. */
export interface SecretSummary extends SecretScope {
  readonly name: string;
  readonly version: number;
  /** When the newest version was set. */
  readonly setAt: Date;
  readonly lastUsedAt: Date | undefined;
  readonly lastUsedBy: string | undefined;
  /** Older versions that are kept, so that they stay taken out of what is said. */
  readonly olderCount: number;
}

/** Longer than any key file in use; a longer value is a file, and files are no secrets of ours. */
const valueBytesMax = 16_384;
const scopeItemsMax = 50;
const namePattern = /^[a-z][a-z0-9_-]{0,63}$/;
const agentPattern = /^[a-z0-9*][a-z0-9*-]{0,31}$/;
const label = '(?!-)[a-z0-9-]{1,63}(?<!-)';
const hostPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\*\\.${label}(?:\\.${label})+)$`);

/** Up to 64 lower-case letters, digits, `_` and `-`, a letter first. */
export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** @throws AppError `credential.invalid` */
export function checkName(name: string): void {
  if (isName(name)) return;
  // Not repeated: somebody may have written the value there.
  throw new AppError('credential.invalid', 'That cannot be the name of a secret.', {
    mend: 'Use up to 64 lower-case letters, digits, _ and -, beginning with a letter.',
  });
}

/**
 * The value as it is kept: without the line break a file or a pipe ends with.
 * @throws AppError `credential.invalid`, which says nothing of the value.
 */
export function checkValue(value: string): string {
  const text = value.replace(/\r?\n$/, '');
  if (text.length < secretCharsMin) {
    throw new AppError('credential.invalid', `The value has ${text.length} characters.`, {
      mend: `Use at least ${secretCharsMin}: a shorter one cannot be told from ordinary words, so it could not be kept out of logs and chats.`,
    });
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > valueBytesMax) {
    throw new AppError('credential.invalid', `The value has ${bytes} bytes.`, {
      mend: `Keep secrets of at most ${valueBytesMax} bytes here.`,
    });
  }
  if (!text.isWellFormed() || text.includes('\0')) {
    throw new AppError('credential.invalid', 'The value is not plain text.', {
      mend: 'Encode binary secrets, for instance with base64.',
    });
  }
  return text;
}

/**
 * The scope in its one form: lower case, sorted, each item once.
 * @throws AppError `credential.invalid` that names the item.
 */
export function checkScope(scope: SecretScope): SecretScope {
  const agents = tidy(scope.agents);
  const hosts = tidy(scope.hosts);
  for (const agent of agents) {
    if (!agentPattern.test(agent)) {
      throw invalidScope(`"${agent.slice(0, 64)}" is no agent.`, 'Use the name of an agent, or a pattern like ops-*.');
    }
  }
  for (const host of hosts) {
    if (!hostPattern.test(host) && isIP(host) === 0) {
      throw invalidScope(
        `"${host.slice(0, 64)}" is no host.`,
        'Use a name like api.example.org or *.example.org, without scheme, port and path.',
      );
    }
  }
  if (agents.length > scopeItemsMax || hosts.length > scopeItemsMax) {
    throw invalidScope('That is too many agents or hosts.', `Name at most ${scopeItemsMax} of each, or use patterns.`);
  }
  return { agents, hosts };
}

/** Why this use is outside of the scope, as a sentence; undefined when it is inside. */
export function refusal(secret: SecretScope & { readonly name: string }, use: CredentialUse): string | undefined {
  if (!secret.agents.some((agent) => compileGlob(agent).matches(use.agent))) {
    return `The agent ${use.agent} may not use the credential ${secret.name}.`;
  }
  if (!secret.hosts.some((host) => coversHost(host, use.host))) {
    return `The credential ${secret.name} does not belong to ${use.host}.`;
  }
  return undefined;
}

function tidy(items: readonly string[]): string[] {
  return [...new Set(items.map((item) => item.trim().toLowerCase().replace(/\.$/, '')))].sort();
}

function invalidScope(message: string, mend: string): AppError {
  return new AppError('credential.invalid', message, { mend });
}
