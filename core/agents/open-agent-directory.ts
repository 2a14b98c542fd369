import type { Clock } from '../kit/clock.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { didYouMean } from '../kit/nearest-word.ts';
import type { AgentProfile } from './agent-profile.ts';
import { selectActive, selectVersions } from './agent-store.ts';

/** The agents of this installation, kept in memory. */
export interface AgentDirectory {
  /** The active agent of a name or alias, without regard to case. */
  find(nameOrAlias: string): Promise<AgentProfile | undefined>;
  /** @throws AppError `agent.unknown` that names the agents there are. */
  require(nameOrAlias: string): Promise<AgentProfile>;
  /** The version a turn recorded, active or not. @throws AppError `agent.unknown` when it was never applied. */
  requireVersion(name: string, version: string): Promise<AgentProfile>;
  list(): Promise<readonly AgentProfile[]>;
  /** Looks into the database at the next call, whatever the age of what is known. */
  refresh(): void;
}

/** Age at which the list of active versions is read again: how late a process learns what another one applied. */
const activeMaxAgeMs = 1000;
/** Versions kept; a version never changes, so this only bounds memory. */
const versionsMax = 500;

/** Opens the directory. One per process. */
export function openAgentDirectory(deps: { readonly db: Db; readonly clock: Clock }): AgentDirectory {
  const versions = new Map<string, AgentProfile>();
  let active: { readonly readAt: number; readonly agents: Promise<readonly AgentProfile[]> } | undefined;

  const loadVersions = async (
    wanted: readonly { readonly name: string; readonly version: string }[],
  ): Promise<readonly (AgentProfile | undefined)[]> => {
    const missing = wanted.filter((item) => !versions.has(keyOf(item)));
    for (const profile of await selectVersions(deps.db, missing)) versions.set(keyOf(profile), profile);
    const found = wanted.map((item) => versions.get(keyOf(item)));
    for (const key of versions.keys()) {
      if (versions.size <= versionsMax) break;
      versions.delete(key);
    }
    return found;
  };
  const readActive = async (): Promise<readonly AgentProfile[]> => {
    const rows = await selectActive(deps.db);
    const found = await loadVersions([...rows].map(([name, version]) => ({ name, version })));
    return found.filter((profile) => profile !== undefined);
  };
  const list = async (): Promise<readonly AgentProfile[]> => {
    const now = deps.clock.now().getTime();
    if (active === undefined || now - active.readAt >= activeMaxAgeMs) {
      const reading = { readAt: now, agents: readActive() };
      active = reading;
      // A failed reading must not be answered again from memory.
      reading.agents.catch(() => {
        if (active === reading) active = undefined;
      });
    }
    return await active.agents;
  };
  const find = async (nameOrAlias: string): Promise<AgentProfile | undefined> => {
    const wanted = nameOrAlias.toLowerCase();
    return (await list()).find(
      (profile) => profile.name === wanted || profile.aliases.some((alias) => alias.toLowerCase() === wanted),
    );
  };

  return {
    list,
    find,
    require: async (nameOrAlias) => {
      const found = await find(nameOrAlias);
      if (found !== undefined) return found;
      const names = (await list()).map((profile) => profile.name);
      throw new AppError(
        'agent.unknown',
        `There is no agent "${nameOrAlias}"${didYouMean(nameOrAlias, names) || '.'}`,
        {
          mend: names.length === 0 ? 'Load agents with: switchyard apply' : `There are: ${names.join(', ')}.`,
        },
      );
    },
    requireVersion: async (name, version) => {
      const [found] = await loadVersions([{ name, version }]);
      if (found !== undefined) return found;
      throw new AppError('agent.unknown', `Version ${version.slice(0, 12)} of agent "${name}" was never applied.`);
    },
    refresh: () => {
      active = undefined;
    },
  };
}

function keyOf(item: { readonly name: string; readonly version: string }): string {
  return `${item.name}@${item.version}`;
}
