import type { Db, Tx } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { Approval } from './approval.ts';
import { listMessage } from './approval-list.ts';
import { type ApprovalList, insertList, pruneLists, selectList, setConfirming } from './card-store.ts';

/** Most requests on one message; each has a row of buttons. */
const listedMax = 8;

/** Shows requests as a list with buttons, in the message with this outbox key. The list keeps itself up to date. */
export async function showList(
  tx: Tx,
  list: {
    readonly messageKey: string;
    readonly personId: string;
    readonly conversation: Conversation;
    readonly approvals: readonly Approval[];
    readonly interactionToken: string | undefined;
  },
): Promise<void> {
  const { approvals, interactionToken, ...rest } = list;
  const approvalIds = approvals.slice(0, listedMax).map(({ id }) => id);
  const stored: ApprovalList = {
    ...rest,
    approvalIds,
    moreCount: approvals.length - approvalIds.length,
    isConfirming: false,
  };
  await insertList(tx, stored);
  const message = await listMessage(tx, stored);
  await putMessages(tx, [
    interactionToken === undefined ? message : { ...message, body: { ...message.body, interactionToken } },
  ]);
}

/** Makes a list ask whether all are meant, or stop asking. */
export async function confirmList(tx: Tx, messageKey: string, isConfirming: boolean): Promise<void> {
  await setConfirming(tx, messageKey, isConfirming);
  const list = await selectList(tx, messageKey);
  if (list !== undefined) await putMessages(tx, [await listMessage(tx, list)]);
}

/** Forgets lists that nobody looks at any more. */
export async function forgetLists(deps: { readonly db: Db }): Promise<void> {
  await pruneLists(deps.db);
}
