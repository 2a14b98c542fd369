import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../kit/errors.ts';
import { didYouMean } from '../kit/nearest-word.ts';
import type { AgentProfile } from './agent-profile.ts';
import { parseAgent } from './parse-agent.ts';

export interface LoadOptions {
  /** Read in order; an agent of a later folder takes the place of one of the same name: bundled first, project last. */
  readonly folders: readonly string[];
  /** When given, the tools of every profile are checked against it. */
  readonly knownTools?: readonly string[];
  /** When given, the skills of every profile are checked against those that its agent could have. */
  readonly skillsOf?: (agentName: string) => Promise<readonly string[]>;
  /** When given, the MCP servers of every profile are checked against it. */
  readonly knownServers?: readonly string[];
}

/** A profile is read by people; one larger than this is not a profile. */
const bytesMax = 256 * 1024;

/**
 * Reads every `*.md` of the folders but README.md. A folder that does not exist is empty.
 * @returns the profiles sorted by name.
 * @throws AppError `agent.invalid` with every problem of every file, one per line, each as `file:line:column message`.
 */
export async function loadAgents(options: LoadOptions): Promise<readonly AgentProfile[]> {
  const problems: string[] = [];
  const byName = new Map<string, AgentProfile>();
  for (const folder of options.folders) {
    for (const file of await listFiles(folder)) {
      const source = path.join(folder, file);
      const bytes = await readFile(source);
      if (bytes.length > bytesMax) {
        problems.push(`${source}:1:1 the file has ${bytes.length} bytes; a profile has at most ${bytesMax}`);
        continue;
      }
      const parsed = parseAgent(
        bytes.toString('utf8'),
        source,
        options.knownTools,
        await options.skillsOf?.(file.slice(0, -'.md'.length)),
      );
      problems.push(...parsed.problems);
      if (parsed.profile === undefined) continue;
      if (`${parsed.profile.name}.md` !== file) {
        problems.push(
          `${source}:1:1 the agent is named "${parsed.profile.name}", so its file is ${parsed.profile.name}.md`,
        );
      }
      const stranger = parsed.profile.mcp.find((name) => options.knownServers?.includes(name) === false);
      if (stranger !== undefined) {
        problems.push(
          `${source}:1:1 unknown MCP server "${stranger}"${didYouMean(stranger, options.knownServers ?? [])}`,
        );
      }
      byName.set(parsed.profile.name, parsed.profile);
    }
  }
  const profiles = [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  problems.push(...clashes(profiles));
  if (problems.length > 0) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    throw new AppError('agent.invalid', `The agent files have ${count}:\n${problems.join('\n')}`, {
      mend: 'Mend the files and load them again; nothing was changed.',
    });
  }
  return profiles;
}

async function listFiles(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name.endsWith('.md') && name !== 'README.md' && !name.startsWith('.')).sort();
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return [];
    throw err;
  }
}

/** Names and aliases share one space, because both are called by `@name`. */
function clashes(profiles: readonly AgentProfile[]): string[] {
  const owners = new Map(profiles.map((profile) => [profile.name, profile]));
  const problems: string[] = [];
  for (const profile of profiles) {
    for (const alias of profile.aliases) {
      const owner = owners.get(alias);
      if (owner === undefined) owners.set(alias, profile);
      else problems.push(`${profile.source}:1:1 the alias "${alias}" is taken by ${owner.source}`);
    }
  }
  return problems;
}
