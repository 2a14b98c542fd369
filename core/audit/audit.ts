import type { Json } from '../kit/json.ts';

/** One fact for the audit: who did or decided what. Never secrets, never whole prompts. */
export interface AuditRecord {
  /** What happened, `area.fact`: `approval.approved`, `gate.decision`. */
  readonly kind: string;
  /** Records with one key are in one chain and so in one provable order; the session's id where there is one. */
  readonly chainKey: string;
  readonly sessionId?: string | undefined;
  readonly body: { readonly [key: string]: unknown };
}

/** A broken place of the audit: a record that is missing, changed, or cut off at the end of its chain. */
export interface AuditProblem {
  readonly chain: number;
  readonly seq: number;
  readonly problem: 'gap' | 'hash' | 'body' | 'head';
}

/** A record as it is read back. */
export interface StoredAudit {
  readonly chain: number;
  readonly seq: number;
  readonly createdAt: Date;
  readonly body: Json;
}
