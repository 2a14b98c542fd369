import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { type Json, jsonSchema, toStorableJson } from '../kit/json.ts';
import type { SeenTool, ToolFlag } from './tool-pin.ts';

/** `new`: nobody decided yet; `changed`: not what was approved any more; `gone`: the server does not list it. */
export type ToolState = 'new' | 'approved' | 'changed' | 'refused' | 'gone';

/** A tool of a server as we know it. */
export interface McpTool {
  readonly server: string;
  readonly name: string;
  readonly digest: string;
  readonly definition: Json;
  readonly flags: readonly ToolFlag[];
  readonly state: ToolState;
  readonly approvedDigest: string | undefined;
  readonly approvedDefinition: Json | undefined;
  readonly decidedByName: string | undefined;
  readonly decidedAt: Date | undefined;
  readonly announcedDigest: string | undefined;
}

const rowSchema = z.object({
  server: z.string(),
  name: z.string(),
  digest: z.string(),
  definition: jsonSchema,
  flags: z.array(z.enum(['invisible_text', 'long_description', 'odd_name', 'shadows', 'instructs'])),
  state: z.enum(['new', 'approved', 'changed', 'refused', 'gone']),
  approved_digest: z.string().nullable(),
  approved_definition: jsonSchema.nullable(),
  decided_by_name: z.string().nullable(),
  decided_at: z.date().nullable(),
  announced_digest: z.string().nullable(),
});

const columns = sql`
  t.server, t.name, t.digest, t.definition, t.flags, t.state, t.approved_digest, t.approved_definition, t.decided_at,
  t.announced_digest, (select p.display_name from person p where p.id = t.decided_by) as decided_by_name`;

function toTool(raw: unknown): McpTool {
  const row = rowSchema.parse(raw);
  return {
    server: row.server,
    name: row.name,
    digest: row.digest,
    definition: row.definition,
    flags: row.flags,
    state: row.state,
    approvedDigest: row.approved_digest ?? undefined,
    approvedDefinition: row.approved_definition ?? undefined,
    decidedByName: row.decided_by_name ?? undefined,
    decidedAt: row.decided_at ?? undefined,
    announcedDigest: row.announced_digest ?? undefined,
  };
}

/** Every tool of these servers, by server and name. */
export async function selectTools(db: Db | Tx, servers: readonly string[]): Promise<McpTool[]> {
  if (servers.length === 0) return [];
  const { rows } = await sql`
    select ${columns} from mcp_tool t where t.server = any(${[...servers]}) order by t.server, t.name
  `.execute(db);
  return rows.map(toTool);
}

/** Writes a server's row and takes its lock: two readings of one list take turns. */
export async function lockServer(tx: Tx, name: string, source: string): Promise<void> {
  await sql`
    insert into mcp_server (name, source) values (${name}, ${source})
    on conflict (name) do update set source = excluded.source
  `.execute(tx);
}

export async function markListed(tx: Tx, name: string): Promise<void> {
  await sql`
    update mcp_server set listed_at = clock_timestamp(), tried_at = clock_timestamp(), problem = null where name = ${name}
  `.execute(tx);
}

/** Writes down that a server could not be read, in one sentence. */
export async function markProblem(db: Db, name: string, source: string, problem: string): Promise<void> {
  await sql`
    insert into mcp_server (name, source, problem) values (${name}, ${source}, ${problem})
    on conflict (name) do update
      set problem = excluded.problem, tried_at = clock_timestamp(),
          listed_at = case when mcp_server.source = excluded.source then mcp_server.listed_at end,
          source = excluded.source
  `.execute(db);
}

/** What is known of a server itself. */
export interface ServerRecord {
  readonly name: string;
  readonly source: string;
  readonly verdict: Json | undefined;
  readonly listedAt: Date | undefined;
  readonly problem: string | undefined;
  readonly triedAt: Date;
}

export async function selectServers(db: Db | Tx, names: readonly string[]): Promise<ServerRecord[]> {
  if (names.length === 0) return [];
  const { rows } = await sql<{
    name: string;
    source: string;
    verdict: unknown;
    listed_at: Date | null;
    problem: string | null;
    tried_at: Date;
  }>`
    select name, source, verdict, listed_at, problem, tried_at from mcp_server where name = any(${[...names]})
  `.execute(db);
  return rows.map((row) => ({
    name: row.name,
    source: row.source,
    verdict: row.verdict === null ? undefined : jsonSchema.parse(row.verdict),
    listedAt: row.listed_at ?? undefined,
    problem: row.problem ?? undefined,
    triedAt: row.tried_at,
  }));
}

/** Remembers which protocol a server speaks; undefined forgets it. */
export async function updateVerdict(db: Db, name: string, source: string, verdict: unknown): Promise<void> {
  await sql`
    insert into mcp_server (name, source, verdict)
    values (${name}, ${source}, ${verdict === undefined ? null : toStorableJson(verdict)}::jsonb)
    on conflict (name) do update set verdict = excluded.verdict
  `.execute(db);
}

/** Writes a tool as it was seen now. */
export async function putTool(
  tx: Tx,
  server: string,
  tool: SeenTool,
  state: ToolState,
  isApproved: boolean,
): Promise<void> {
  const definition = toStorableJson(tool.definition);
  const { numAffectedRows } = await sql`
    update mcp_tool set digest = ${tool.digest}, definition = ${definition}::jsonb, flags = ${[...tool.flags]},
      state = ${state}, seen_at = clock_timestamp(),
      approved_digest = coalesce(${isApproved ? tool.digest : null}, approved_digest),
      approved_definition = coalesce(${isApproved ? definition : null}::jsonb, approved_definition)
    where server = ${server} and name = ${tool.name}
  `.execute(tx);
  if ((numAffectedRows ?? 0n) > 0n) return;
  await sql`
    insert into mcp_tool (server, name, digest, definition, flags, state, approved_digest, approved_definition)
    values (${server}, ${tool.name}, ${tool.digest}, ${definition}::jsonb, ${[...tool.flags]}, ${state},
      ${isApproved ? tool.digest : null}, ${isApproved ? definition : null}::jsonb)
  `.execute(tx);
}

/**
 * Tools a server does not list any more. What was decided about them stays, for the day they come back; of those nobody
 * decided about nothing stays, so that a server cannot pile them up.
 */
export async function markGone(tx: Tx, server: string, names: readonly string[]): Promise<void> {
  await sql`
    delete from mcp_tool
    where server = ${server} and name = any(${[...names]}) and approved_digest is null and state <> 'refused'
  `.execute(tx);
  await sql`update mcp_tool set state = 'gone' where server = ${server} and name = any(${[...names]})`.execute(tx);
}

/** Takes the right to announce tools of a server; false when that was done `countMax` times within the last hour. */
export async function mayAnnounce(tx: Tx, server: string, countMax: number): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update mcp_server set
      announce_count = case when announced_since > clock_timestamp() - interval '1 hour' then announce_count + 1 else 1 end,
      announced_since = case when announced_since > clock_timestamp() - interval '1 hour' then announced_since
                             else clock_timestamp() end
    where name = ${server}
      and (announced_since is null or announced_since < clock_timestamp() - interval '1 hour' or announce_count < ${countMax})
  `.execute(tx);
  return (numAffectedRows ?? 0n) > 0n;
}

export async function markAnnounced(tx: Tx, server: string, names: readonly string[]): Promise<void> {
  await sql`
    update mcp_tool set announced_digest = digest where server = ${server} and name = any(${[...names]})
  `.execute(tx);
}

/** A decision about exactly one definition of a tool. */
export interface ToolChoice {
  readonly name: string;
  readonly digest: string;
}

/** @returns the names that were decided: those whose definition is still the one that was looked at. */
export async function decideTools(
  tx: Tx,
  decision: {
    readonly server: string;
    readonly tools: readonly ToolChoice[];
    readonly isApproved: boolean;
    readonly personId: string;
  },
): Promise<string[]> {
  const { server, tools, isApproved, personId } = decision;
  const chosen = JSON.stringify(tools);
  const { rows } = isApproved
    ? await sql<{ name: string }>`
        update mcp_tool t set state = 'approved', approved_digest = t.digest, approved_definition = t.definition,
          decided_by = ${personId}, decided_at = clock_timestamp()
        from jsonb_to_recordset(${chosen}::jsonb) as c(name text, digest text)
        where t.server = ${server} and t.name = c.name and t.digest = c.digest and t.state in ('new', 'changed', 'refused')
        returning t.name`.execute(tx)
    : await sql<{ name: string }>`
        update mcp_tool t set state = 'refused', decided_by = ${personId}, decided_at = clock_timestamp()
        from jsonb_to_recordset(${chosen}::jsonb) as c(name text, digest text)
        where t.server = ${server} and t.name = c.name and t.digest = c.digest and t.state in ('new', 'changed')
        returning t.name`.execute(tx);
  return rows.map(({ name }) => name).sort();
}

/** Forgets what was decided about tools, all of a server's without names. @returns the names. */
export async function forgetDecisions(tx: Tx, server: string, name: string | undefined): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    delete from mcp_tool where server = ${server} and (${name ?? null}::text is null or name = ${name ?? null})
    returning name
  `.execute(tx);
  return rows.map((row) => row.name).sort();
}
