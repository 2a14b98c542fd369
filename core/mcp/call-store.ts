import { sql } from 'kysely';
import { z } from 'zod';
import type { Db } from '../kit/database.ts';
import { type Json, jsonSchema, toStorableJson } from '../kit/json.ts';

/** A call whose server asked for something before it goes on. */
export interface OpenCall {
  readonly turnId: string;
  readonly callId: string;
  readonly server: string;
  readonly tool: string;
  /** How often the server has asked in this call; 1 for the first time. */
  readonly round: number;
  readonly requestState: string | undefined;
  /** What it asks for, by its own keys. */
  readonly requests: Readonly<Record<string, Json>>;
  /** What was answered so far, by the same keys. */
  readonly responses: Readonly<Record<string, Json>>;
  /** The answers were on their way when a worker was last seen. */
  readonly isSent: boolean;
}

const recordSchema = z.record(z.string(), jsonSchema);

export async function selectCall(db: Db, turnId: string, callId: string): Promise<OpenCall | undefined> {
  const { rows } = await sql<{
    server: string;
    tool: string;
    round: number;
    request_state: string | null;
    requests: unknown;
    responses: unknown;
    is_sent: boolean;
  }>`
    select server, tool, round, request_state, requests, responses, is_sent from mcp_call
    where turn_id = ${turnId} and call_id = ${callId}
  `.execute(db);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    turnId,
    callId,
    server: row.server,
    tool: row.tool,
    round: row.round,
    requestState: row.request_state ?? undefined,
    requests: recordSchema.parse(row.requests),
    responses: recordSchema.parse(row.responses),
    isSent: row.is_sent,
  };
}

/** Writes a call that waits, in place of what was known of it. Calls of turns of long ago are forgotten with it. */
export async function putCall(db: Db, call: OpenCall): Promise<void> {
  await sql`delete from mcp_call where created_at < clock_timestamp() - interval '30 days'`.execute(db);
  await sql`
    insert into mcp_call (turn_id, call_id, server, tool, round, request_state, requests, responses, is_sent)
    values (${call.turnId}, ${call.callId}, ${call.server}, ${call.tool}, ${call.round}, ${call.requestState ?? null},
      ${toStorableJson(call.requests)}::jsonb, ${toStorableJson(call.responses)}::jsonb, ${call.isSent})
    on conflict (turn_id, call_id) do update set
      round = excluded.round, request_state = excluded.request_state, requests = excluded.requests,
      responses = excluded.responses, is_sent = excluded.is_sent
  `.execute(db);
}

export async function deleteCall(db: Db, turnId: string, callId: string): Promise<void> {
  await sql`delete from mcp_call where turn_id = ${turnId} and call_id = ${callId}`.execute(db);
}
