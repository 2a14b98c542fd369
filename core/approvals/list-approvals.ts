import type { Db, Tx } from '../kit/database.ts';
import type { Approval, ApprovalState } from './approval.ts';
import { selectApprovals, selectApprovalsByIds } from './approval-store.ts';

const rowsMax = 100;

/** Approvals, newest first, at most 100. */
export async function listApprovals(
  db: Db | Tx,
  filter: { readonly state?: ApprovalState; readonly sessionId?: string; readonly turnId?: string } = {},
): Promise<readonly Approval[]> {
  return await selectApprovals(db, { ...filter, rowsMax });
}

/** Some approvals by their ids, in no order. */
export async function findApprovals(db: Db | Tx, ids: readonly string[]): Promise<readonly Approval[]> {
  return ids.length === 0 ? [] : await selectApprovalsByIds(db, ids);
}

/** One approval by its id. */
export async function findApproval(db: Db | Tx, id: string): Promise<Approval | undefined> {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return undefined;
  return (await selectApprovals(db, { id, rowsMax: 1 }))[0];
}

/** The latest approval a turn asked for one call; what a resumed turn looks at to know its answer. */
export async function findApprovalOfCall(db: Db | Tx, turnId: string, callId: string): Promise<Approval | undefined> {
  return (await selectApprovals(db, { turnId, callId, rowsMax: 1 }))[0];
}
