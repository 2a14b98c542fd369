import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { newId, sha256 } from '../kit/ids.ts';
import { canonicalJson, toWellFormed } from '../kit/json.ts';
import { acceptTurns } from '../lanes/accept-turns.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { openSession } from '../sessions/open-session.ts';
import { openThread } from '../sessions/open-thread.ts';
import type { Origin } from '../sessions/origin.ts';
import type { TurnPayload } from '../turns/turn-event.ts';
import { type AccessToken, putTokenRun, type RunRow, selectTokenRun, selectTurnTexts } from './access-token-store.ts';

/** Longest text of one piece of work. */
export const runCharsMax = 50_000;

/**
 * Where work of a token is: a conversation of its own in the console, so that its answers and questions are stored, and
 * the operator can look on with `./switchyard chat --room mcp-<name>`.
 */
export function tokenOrigin(token: Pick<AccessToken, 'id' | 'name' | 'person'>, conversation: string): Origin {
  return {
    channel: 'console',
    account: 'local',
    room: `mcp-${token.id}`,
    thread: conversation,
    kind: 'dm',
    personId: token.person.id,
  };
}

/**
 * Gives an agent work, for the token's person and in a session of the token's own. The same key again begins nothing.
 * @returns the id of the work and the wakes to ring.
 * @throws AppError `request.invalid` when the key was used for something else.
 */
export async function startRun(
  db: Db,
  token: AccessToken,
  request: {
    readonly agent: { readonly name: string; readonly version: string };
    readonly text: string;
    readonly kind: 'message' | 'task';
    /** Work with one name is one conversation. */
    readonly conversation: string;
    readonly idempotencyKey: string | undefined;
  },
): Promise<{ readonly runId: string; readonly wakes: readonly LaneWake[] }> {
  const { agent, kind, conversation } = request;
  const text = toWellFormed(request.text);
  const turnId = newId();
  const idempotencyKey = request.idempotencyKey ?? turnId;
  const requestDigest = sha256(canonicalJson({ agent: agent.name, text, kind, conversation }));
  const origin = tokenOrigin(token, conversation);
  return await db.transaction().execute(async (tx) => {
    const run = await putTokenRun(tx, { tokenId: token.id, idempotencyKey, requestDigest, turnId });
    if (run.requestDigest !== requestDigest) {
      throw new AppError('request.invalid', 'This idempotency key was used for other work before.', {
        mend: 'Use a new key for new work, and the same one only to try the same work again.',
      });
    }
    if (run.turnId !== turnId) return { runId: run.turnId, wakes: [] };
    const thread = await openThread(tx, origin);
    const session = await openSession(tx, { threadKey: thread.threadKey, agentName: agent.name, origin });
    const accepted = await acceptTurns(tx, [
      {
        turnId,
        sessionId: session.id,
        eventKey: `mcp:${token.id}:${turnId}`,
        mode: 'followup',
        kind,
        agentName: agent.name,
        agentVersion: agent.version,
        origin,
        payload: { text, author: `${token.person.displayName} (by "${token.name}")` } satisfies TurnPayload,
      },
    ]);
    await appendAudit(tx, [
      {
        kind: 'access.run_started',
        chainKey: session.id,
        sessionId: session.id,
        body: { tokenId: token.id, personId: token.person.id, turnId, agentName: agent.name },
      },
    ]);
    return { runId: turnId, wakes: accepted.flatMap(({ wake }) => (wake === undefined ? [] : [wake])) };
  });
}

/** How work of a token stands. */
export interface RunStatus extends RunRow {
  readonly isOver: boolean;
}

/** @throws AppError `request.not_found` for work that this token did not begin. */
export async function readRun(db: Db, token: Pick<AccessToken, 'id'>, runId: string): Promise<RunStatus> {
  const isId = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(runId);
  const row = isId ? await selectTokenRun(db, token.id, runId) : undefined;
  if (row === undefined) {
    throw new AppError('request.not_found', 'This token has begun no work of this id.', {
      mend: 'Use the run_id that run_start returned.',
    });
  }
  return { ...row, isOver: !['queued', 'running', 'waiting'].includes(row.state) };
}

/** What the agent said in a run so far, the newest last. */
export async function readRunTexts(db: Db, run: Pick<RunRow, 'sessionId' | 'turnId'>): Promise<readonly string[]> {
  return await selectTurnTexts(db, run.sessionId, run.turnId);
}
