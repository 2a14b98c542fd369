import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { newId, newToken, sha256 } from '../kit/ids.ts';
import type { AccessScope } from './access-scope.ts';
import {
  type AccessToken,
  insertAccessToken,
  markRevoked,
  selectAccessTokens,
  useAccessToken,
} from './access-token-store.ts';

export type { AccessToken } from './access-token-store.ts';

/** What every key begins with, so that one that got out is recognised. */
const accessTokenPrefix = 'sy_mcp_';

/**
 * Makes a key for a program outside. Only its hash is kept.
 * @returns the key, which nobody can ever see again.
 * @throws AppError `command.invalid` when a key of this name is in force.
 */
export async function createAccessToken(
  db: Db,
  wanted: {
    readonly name: string;
    readonly personId: string;
    readonly agentName: string | undefined;
    readonly scopes: readonly AccessScope[];
    readonly createdBy: string;
    readonly validMs: number;
  },
): Promise<{ readonly id: string; readonly token: string }> {
  const [id, token] = [newId(), `${accessTokenPrefix}${newToken(32)}`];
  const { name, personId, agentName, scopes, createdBy } = wanted;
  await db.transaction().execute(async (tx) => {
    if (!(await insertAccessToken(tx, { ...wanted, id, tokenHash: sha256(token) }))) {
      throw new AppError('command.invalid', `There is a token named "${name}" already.`, {
        mend: `Choose another name, or revoke it: ./switchyard mcp token revoke ${name}`,
      });
    }
    await appendAudit(tx, [
      {
        kind: 'access.token_created',
        chainKey: `access:${id}`,
        body: { id, name, personId, agentName, scopes, createdBy },
      },
    ]);
  });
  return { id, token };
}

/** Whom a key stands for; undefined for one that is unknown, over, revoked, or of a person who was removed. */
export async function findAccessToken(db: Db, token: string): Promise<AccessToken | undefined> {
  return token.startsWith(accessTokenPrefix) && token.length < 100
    ? await useAccessToken(db, sha256(token))
    : undefined;
}

/** @throws AppError `request.not_found` when no key of this name or id is in force. */
export async function revokeAccessToken(db: Db, nameOrId: string, personId: string): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const id = await markRevoked(tx, nameOrId);
    if (id === undefined) {
      throw new AppError('request.not_found', `There is no token "${nameOrId.slice(0, 60)}" in force.`, {
        mend: 'See ./switchyard mcp token list.',
      });
    }
    await appendAudit(tx, [{ kind: 'access.token_revoked', chainKey: `access:${id}`, body: { id, personId } }]);
  });
}

/** Every key, those in force first. */
export async function listAccessTokens(db: Db): Promise<readonly AccessToken[]> {
  return await selectAccessTokens(db);
}
