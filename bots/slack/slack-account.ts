import { createHash } from 'node:crypto';

/**
 * A stable name of the account, known before anything is connected and equal in every process: the two public numbers in
 * a bot token, which stand for the workspace and the bot user and outlive a change of its secret part. A token of
 * another form is named by a part of its hash.
 */
export function accountOf(botToken: string): string {
  const match = /^xoxb-(\d{5,20})-(\d{5,20})-/.exec(botToken);
  if (match !== null) return `${match[1]}-${match[2]}`;
  return `token-${createHash('sha256').update(botToken).digest('hex').slice(0, 16)}`;
}
