import type { Suggest, SuggestionSource } from '#bots/channel.ts';
import type { AgentDirectory } from '#core/agents/open-agent-directory.ts';
import { listApprovals } from '#core/approvals/list-approvals.ts';
import type { Db } from '#core/kit/database.ts';

/** As many as a platform shows. */
const valuesMax = 25;

/** What is proposed while somebody types into an option of a command: the names there are right now. */
export function createSuggest(deps: { readonly db: Db; readonly agents: AgentDirectory }): Suggest {
  const sources: Readonly<Partial<Record<SuggestionSource, () => Promise<readonly string[]>>>> = {
    agents: async () => (await deps.agents.list()).map(({ name }) => name),
    approvals: async () => (await listApprovals(deps.db, { state: 'pending' })).map(({ id }) => id),
  };
  return async (source, typed) => {
    const wanted = typed.trim().toLowerCase();
    const values = ((await sources[source]?.()) ?? []).filter((value) => value.toLowerCase().includes(wanted));
    const isFirst = (value: string): boolean => value.toLowerCase().startsWith(wanted);
    return values.sort((a, b) => Number(isFirst(b)) - Number(isFirst(a)) || a.localeCompare(b)).slice(0, valuesMax);
  };
}
