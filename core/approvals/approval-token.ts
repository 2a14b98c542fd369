import type { Tx } from '../kit/database.ts';
import { newToken, sha256 } from '../kit/ids.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import type { Approval, ApprovalPress } from './approval.ts';
import { insertTokens } from './card-store.ts';

/** One opaque token per button. Only hashes are kept: whoever mints them is the only one to see them. */
export type PressTokens = Readonly<Partial<Record<ApprovalPress, string>>>;

/** The form a button's token is kept in. */
export function hashToken(token: string): string {
  return sha256(`approval-token:${token}`);
}

/** New tokens for the buttons of one request that work in one thread only. */
export async function mintTokens(
  tx: Tx,
  approval: Pick<Approval, 'id'>,
  place: Conversation,
  presses: readonly ApprovalPress[],
): Promise<PressTokens> {
  const minted = presses.map((press) => ({ press, token: newToken() }));
  await insertTokens(
    tx,
    approval.id,
    threadKey(place),
    minted.map(({ press, token }) => ({ press, hash: hashToken(token) })),
  );
  return Object.fromEntries(minted.map(({ press, token }) => [press, token]));
}
