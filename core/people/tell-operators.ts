import type { Db, Tx } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { findPeopleOf, findReach } from './find-reach.ts';

/** What those who run this installation should know. */
export interface OperatorNotice {
  /** Said once per key and owner, however often it is written. */
  readonly key: string;
  readonly markdown: string;
  readonly level: 'info' | 'warn' | 'error' | 'success';
  /** The account the notice is about: it may be unable to carry it. */
  readonly exceptAccount?: { readonly channel: string; readonly account: string };
}

/**
 * Tells every owner in private, where they were seen last. An owner who never wrote to us in private finds it in the log
 * only, which the caller writes.
 */
export async function tellOperators(tx: Db | Tx, notice: OperatorNotice): Promise<void> {
  const { key, markdown, level, exceptAccount } = notice;
  for (const personId of await findPeopleOf(tx, ['owner'])) {
    const reach = (await findReach(tx, personId)).find(
      ({ conversation }) =>
        conversation.channel !== exceptAccount?.channel || conversation.account !== exceptAccount.account,
    );
    if (reach === undefined) continue;
    await putMessages(tx, [
      {
        key: `operator:${key}:${personId}`,
        conversation: reach.conversation,
        importance: 'notice',
        body: { parts: [{ type: 'notice', level, markdown }] },
      },
    ]);
  }
}
