/** "Allow always": a person's answer, remembered for exactly one action on one resource until it is revoked. */
export interface GrantRule {
  readonly id: string;
  readonly subjectKind: 'agent' | 'session';
  /** Agent name or session id. */
  readonly subject: string;
  readonly action: string;
  /** Compared letter by letter; never a pattern, because a command may contain `*`. */
  readonly resource: string;
  /** Where set, the rule is for this directory only. */
  readonly workingDirectory: string | undefined;
  readonly createdBy: string;
  /** The approval it came from. */
  readonly approvalId: string | undefined;
  readonly createdAt: Date;
  readonly revokedAt: Date | undefined;
}
