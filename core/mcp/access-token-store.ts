import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import type { PersonRole } from '../people/person.ts';
import { type AccessScope, accessScopes } from './access-scope.ts';

/** A key of a program outside, without the key. */
export interface AccessToken {
  readonly id: string;
  readonly name: string;
  /** It acts for this person and may never do more than they. */
  readonly person: { readonly id: string; readonly displayName: string; readonly role: PersonRole };
  /** The only agent it may give work to; undefined: any. */
  readonly agentName: string | undefined;
  readonly scopes: readonly AccessScope[];
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly revokedAt: Date | undefined;
  readonly lastUsedAt: Date | undefined;
}

const rowSchema = z.object({
  id: z.string(),
  name: z.string(),
  person_id: z.string(),
  person_name: z.string(),
  person_role: z.enum(['owner', 'admin', 'member']),
  agent_name: z.string().nullable(),
  scopes: z.array(z.enum(accessScopes)),
  created_at: z.date(),
  expires_at: z.date(),
  revoked_at: z.date().nullable(),
  last_used_at: z.date().nullable(),
});

const columns = sql`
  t.id, t.name, t.person_id, p.display_name as person_name, p.role as person_role, t.agent_name, t.scopes, t.created_at,
  t.expires_at, t.revoked_at, t.last_used_at`;

function toToken(raw: unknown): AccessToken {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    name: row.name,
    person: { id: row.person_id, displayName: row.person_name, role: row.person_role },
    agentName: row.agent_name ?? undefined,
    scopes: row.scopes,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
  };
}

/** @returns false when a token of this name is in force. */
export async function insertAccessToken(
  tx: Tx,
  token: {
    readonly id: string;
    readonly name: string;
    readonly tokenHash: string;
    readonly personId: string;
    readonly agentName: string | undefined;
    readonly scopes: readonly AccessScope[];
    readonly createdBy: string;
    readonly validMs: number;
  },
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    insert into access_token (id, name, token_hash, person_id, agent_name, scopes, created_by, expires_at)
    values (${token.id}, ${token.name}, ${token.tokenHash}, ${token.personId}, ${token.agentName ?? null},
      ${[...token.scopes]}, ${token.createdBy}, clock_timestamp() + make_interval(secs => ${token.validMs / 1000}))
    on conflict (name) where revoked_at is null do nothing
  `.execute(tx);
  return (numAffectedRows ?? 0n) > 0n;
}

/**
 * The token in force behind a hash. Its last use is noted to the minute: a write for every call would cost more than
 * the call.
 */
export async function useAccessToken(db: Db, tokenHash: string): Promise<AccessToken | undefined> {
  const { rows } = await sql`
    select ${columns} from access_token t join person p on p.id = t.person_id and p.disabled_at is null
    where t.token_hash = ${tokenHash} and t.revoked_at is null and t.expires_at > clock_timestamp()
  `.execute(db);
  if (rows[0] === undefined) return undefined;
  const token = toToken(rows[0]);
  await sql`
    update access_token set last_used_at = clock_timestamp()
    where id = ${token.id} and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute')
  `.execute(db);
  return token;
}

/** Every token, those in force first, the newest first. */
export async function selectAccessTokens(db: Db): Promise<AccessToken[]> {
  const { rows } = await sql`
    select ${columns} from access_token t join person p on p.id = t.person_id
    order by t.revoked_at is not null, t.created_at desc limit 500
  `.execute(db);
  return rows.map(toToken);
}

/** @returns the id; undefined when no token of this name or id is in force. */
export async function markRevoked(tx: Tx, nameOrId: string): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    update access_token set revoked_at = clock_timestamp()
    where (name = ${nameOrId} or id::text = ${nameOrId}) and revoked_at is null returning id
  `.execute(tx);
  return rows[0]?.id;
}

/** Work that was begun by a token. */
export interface TokenRun {
  readonly turnId: string;
  readonly requestDigest: string;
}

/** Remembers who began what. @returns what stands there: of this call, or of an earlier one with the same key. */
export async function putTokenRun(
  tx: Tx,
  run: TokenRun & { readonly tokenId: string; readonly idempotencyKey: string },
): Promise<TokenRun> {
  await sql`
    insert into access_token_run (token_id, idempotency_key, request_digest, turn_id)
    values (${run.tokenId}, ${run.idempotencyKey}, ${run.requestDigest}, ${run.turnId})
    on conflict (token_id, idempotency_key) do nothing
  `.execute(tx);
  const { rows } = await sql<{ turn_id: string; request_digest: string }>`
    select turn_id, request_digest from access_token_run
    where token_id = ${run.tokenId} and idempotency_key = ${run.idempotencyKey}
  `.execute(tx);
  const row = rows[0];
  if (row === undefined) throw new Error('the run that was just written is gone');
  return { turnId: row.turn_id, requestDigest: row.request_digest };
}

/** How work that a token began stands. */
export interface RunRow {
  readonly turnId: string;
  readonly sessionId: string;
  readonly agentName: string;
  readonly state: 'queued' | 'running' | 'waiting' | 'done' | 'failed' | 'cancelled' | 'absorbed';
  readonly waitingFor: string | undefined;
  readonly errorCode: string | undefined;
}

/** @returns undefined for work of somebody else. */
export async function selectTokenRun(db: Db, tokenId: string, turnId: string): Promise<RunRow | undefined> {
  const { rows } = await sql<{
    id: string;
    session_id: string;
    agent_name: string;
    state: RunRow['state'];
    waiting_for: string | null;
    error_code: string | null;
  }>`
    select t.id, t.session_id, t.agent_name, t.state, t.waiting_for, t.error_code
    from turn t join access_token_run r on r.turn_id = t.id
    where t.id = ${turnId} and r.token_id = ${tokenId}
  `.execute(db);
  const row = rows[0];
  return row === undefined
    ? undefined
    : {
        turnId: row.id,
        sessionId: row.session_id,
        agentName: row.agent_name,
        state: row.state,
        waitingFor: row.waiting_for ?? undefined,
        errorCode: row.error_code ?? undefined,
      };
}

/** The texts an agent said in a turn, in order. */
export async function selectTurnTexts(db: Db, sessionId: string, turnId: string): Promise<string[]> {
  const { rows } = await sql<{ text: string }>`
    select string_agg(part ->> 'text', '' order by ordinality) as text
    from event e, jsonb_array_elements(e.payload -> 'parts') with ordinality as p(part, ordinality)
    where e.session_id = ${sessionId} and e.turn_id = ${turnId} and e.kind = 'assistant_message'
      and part ->> 'type' = 'text'
    group by e.seq order by e.seq
  `.execute(db);
  return rows.map(({ text }) => text);
}
