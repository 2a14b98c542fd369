/** For whom and for which host a credential is wanted. */
export interface CredentialUse {
  readonly agent: string;
  /** Lower case, no port, no final dot. */
  readonly host: string;
}

/** Opens credentials at the one place where they are put into a request. */
export interface CredentialSource {
  /**
   * The value behind `$CRED{name}`, newest version.
   * @throws AppError `credential.unknown`, `credential.not_allowed` (another agent or host).
   */
  resolve(name: string, use: CredentialUse): Promise<string>;
}

/** What stands in tool arguments and files in place of a credential. */
export const credentialHandle = /\$CRED\{([a-z][a-z0-9_-]{0,63})\}/g;
