import { userInfo } from 'node:os';
import type { Db } from '#core/kit/database.ts';
import { ensureOperator } from '#core/people/ensure-operator.ts';

/** The person who acts by this command line: the owner, because whoever reads the data directory could do anything. */
export async function operatorId(db: Db): Promise<string> {
  const user = userInfo().username;
  const key = { channel: 'console', account: 'local', externalId: `operator:${user}`, displayName: user };
  const { person } = await ensureOperator(db, key);
  if (person === undefined) throw new Error('the operator has no person');
  return person.id;
}
