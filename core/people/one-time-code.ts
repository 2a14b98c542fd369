import type { Db, Tx } from '../kit/database.ts';
import {
  type CodeKind,
  codeFailures,
  countCodeFailure,
  deleteOpenCodes,
  insertCodes,
  spendCode,
  type UsedCode,
} from './code-store.ts';
import { hashCode, newCode } from './code-text.ts';
import type { Identity, Person } from './person.ts';

/** Long enough to pick up the other device, short enough that a code left on a screen is worth little. */
const codeMs = 10 * 60_000;

/** Wrong codes an account may try within an hour. */
const failuresMax = 5;

/** Who asks for a code. */
interface CodeMaker {
  readonly person: Person;
  readonly identity: Identity;
}

/** A code for one use within ten minutes; those of the same kind the person made before stop working. */
export async function createCode(
  tx: Db | Tx,
  maker: CodeMaker,
  what: { readonly kind: 'link' } | { readonly kind: 'continue'; readonly sessionId: string },
): Promise<string> {
  const code = newCode();
  await deleteOpenCodes(tx, maker.person.id, what.kind);
  await insertCodes(tx, [
    {
      codeHash: hashCode(what.kind, code),
      kind: what.kind,
      personId: maker.person.id,
      identityId: maker.identity.id,
      sessionId: what.kind === 'continue' ? what.sessionId : undefined,
      validMs: codeMs,
    },
  ]);
  return code;
}

/** Makes the numbers of a list usable as codes, by the account that was shown the list. */
export async function numberSessions(tx: Db | Tx, maker: CodeMaker, sessionIds: readonly string[]): Promise<void> {
  await insertCodes(
    tx,
    sessionIds.map((sessionId, index) => ({
      codeHash: hashNumber(maker.identity.id, index + 1),
      kind: 'continue',
      personId: maker.person.id,
      identityId: maker.identity.id,
      sessionId,
      validMs: codeMs,
    })),
  );
}

/** What became of a code somebody brought. */
export type CodeUse =
  | ({ readonly kind: 'used' } & UsedCode)
  /** Unknown, used before or expired. */
  | { readonly kind: 'wrong' }
  /** Too many wrong ones of late: it was not even looked at. */
  | { readonly kind: 'locked' };

/** Uses a code, once. Wrong ones are counted per account, so that guessing ends after a few. */
export async function useCode(tx: Tx, kind: CodeKind, code: string, identity: Identity): Promise<CodeUse> {
  if ((await codeFailures(tx, identity.id)) >= failuresMax) return { kind: 'locked' };
  const hash = /^\d{1,2}$/.test(code) ? hashNumber(identity.id, Number(code)) : hashCode(kind, code);
  const used = await spendCode(tx, kind, hash, identity.id);
  if (used !== undefined) return { kind: 'used', ...used };
  await countCodeFailure(tx, identity.id);
  return { kind: 'wrong' };
}

function hashNumber(identityId: string, number: number): string {
  return hashCode('continue', `${identityId} number ${number}`);
}
