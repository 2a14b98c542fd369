import { createRedactor } from '#core/redaction/create-redactor.ts';
import type { Redactor } from '#core/redaction/redactor.ts';
import { createSecretBook, type KnownSecret, type SecretBook } from '#core/redaction/secret-book.ts';

/** What a process knows of secrets, and what takes them out of everything that leaves it. */
export interface Redaction {
  readonly secrets: SecretBook;
  readonly redactor: Redactor;
}

/** Begins with the secrets of the settings; the vault and the gateway add theirs. */
export function openRedaction(settings: readonly KnownSecret[]): Redaction {
  const secrets = createSecretBook();
  secrets.replace('settings', settings);
  return { secrets, redactor: createRedactor({ secrets }) };
}
