import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { storableJson } from '../kit/storable-json.ts';
import { type AgentProfile, agentFrontMatterSchema } from './agent-profile.ts';

const storedSchema = agentFrontMatterSchema.extend({
  prompt: z.string(),
  source: z.string(),
  grantLines: z.array(z.int()).default([]),
});

const rowSchema = z.object({ name: z.string(), version: z.string(), profile: storedSchema });

/** Waits until no other process applies agents; the lock ends with the transaction. */
export async function lockAgents(tx: Tx): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('switchyard.agents', 0))`.execute(tx);
}

/** Versions are named by their content, so one that is there already is the same. */
export async function insertVersions(tx: Tx, profiles: readonly AgentProfile[]): Promise<void> {
  const items = profiles.map(({ version, ...profile }) => ({ version, profile }));
  await sql`
    insert into agent_version (name, version, profile)
    select item -> 'profile' ->> 'name', item ->> 'version', item -> 'profile'
    from jsonb_array_elements(${JSON.stringify(storableJson(items))}::jsonb) item
    on conflict (name, version) do nothing
  `.execute(tx);
}

export async function activate(
  tx: Tx,
  agents: readonly { readonly name: string; readonly version: string }[],
): Promise<void> {
  const json = JSON.stringify(agents.map(({ name, version }) => ({ name, version })));
  await sql`
    insert into agent (name, version)
    select item ->> 'name', item ->> 'version' from jsonb_array_elements(${json}::jsonb) item
    on conflict (name) do update set version = excluded.version, is_active = true, updated_at = clock_timestamp()
      where agent.version <> excluded.version or not agent.is_active
  `.execute(tx);
  await sql`
    update agent set is_active = false, updated_at = clock_timestamp()
    where is_active and name not in (select item ->> 'name' from jsonb_array_elements(${json}::jsonb) item)
  `.execute(tx);
}

/** Name and version of every active agent. */
export async function selectActive(db: Db | Tx): Promise<ReadonlyMap<string, string>> {
  const { rows } = await sql<{ name: string; version: string }>`
    select name, version from agent where is_active order by name
  `.execute(db);
  return new Map(rows.map((row) => [row.name, row.version]));
}

/** Profiles of given versions; what a newer schema added to them comes as its default. */
export async function selectVersions(
  db: Db | Tx,
  wanted: readonly { readonly name: string; readonly version: string }[],
): Promise<AgentProfile[]> {
  if (wanted.length === 0) return [];
  const { rows } = await sql`
    select v.name, v.version, v.profile
    from agent_version v
      join jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb) as w (name text, version text)
        on w.name = v.name and w.version = v.version
    order by v.name
  `.execute(db);
  return rows.map((raw) => {
    const { version, profile } = rowSchema.parse(raw);
    return { ...profile, version };
  });
}
