import type { Tx } from '../kit/database.ts';
import { hashToken } from './approval-token.ts';
import { type ApprovalList, findListButton, findToken, type ListAction, selectList } from './card-store.ts';

/** What a pressed button of a request or of a list of requests means. */
export type ReadPress =
  | { readonly kind: 'decision'; readonly approvalId: string }
  /** The words of a denial are wanted first. */
  | { readonly kind: 'reason'; readonly approvalId: string }
  | { readonly kind: 'list'; readonly list: ApprovalList; readonly action: ListAction }
  /** It was shown in another chat. */
  | { readonly kind: 'other_chat' };

/** Reads a button's token where it was pressed. @returns undefined when it is no button of a request. */
export async function readPress(tx: Tx, token: string, threadKey: string): Promise<ReadPress | undefined> {
  const hash = hashToken(token);
  const found = await findToken(tx, hash);
  if (found !== undefined) {
    if (found.threadKey !== threadKey) return { kind: 'other_chat' };
    return { kind: found.press === 'deny_reason' ? 'reason' : 'decision', approvalId: found.approvalId };
  }
  const button = await findListButton(tx, hash);
  if (button === undefined) return undefined;
  if (button.threadKey !== threadKey) return { kind: 'other_chat' };
  const list = await selectList(tx, button.messageKey);
  return list === undefined ? undefined : { kind: 'list', list, action: button.action };
}
