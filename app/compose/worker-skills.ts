import { readEvents } from '#core/sessions/session-store.ts';
import { placeEvents } from '#core/turns/build-context.ts';
import type { Hook } from '#workers/hooks/hook.ts';
import type { PrepareSandboxFolder } from '#workers/sandbox/sandbox.ts';
import { createSkillFolders } from '#workers/skills/skill-folders.ts';
import { skillHooks } from '#workers/skills/skill-hooks.ts';
import type { Tool } from '#workers/tools/tool.ts';
import { useSkillTool } from '#workers/tools/use-skill.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';
import { TurnLog } from '#workers/turn/turn-log.ts';
import { openSkills } from './open-skills.ts';
import type { Services } from './services.ts';

/** Events of a session in which a turn's calls are looked for: many times what a model is shown. */
const eventsMax = 20_000;

/** What skills bring into a worker: their tool, their part in turns, their files in sandboxes. */
export interface WorkerSkills {
  readonly toolsOf: TurnDeps['toolsOf'];
  readonly hooks: readonly Hook[];
  readonly prepareFolder: PrepareSandboxFolder;
}

export function openWorkerSkills({
  config,
  db,
  log,
  agents,
}: Pick<Services, 'config' | 'db' | 'log' | 'agents'>): WorkerSkills {
  const library = openSkills(config);
  const folders = createSkillFolders({ log, library, findAgent: async (name) => await agents.find(name) });
  const tool: Tool = useSkillTool({ library });
  return {
    // Offered for suspended skills as well: it tells why they cannot be used.
    toolsOf: async (agent) => new Map((await library.forAgent(agent)).length === 0 ? [] : [[tool.name, tool]]),
    hooks: skillHooks({
      library,
      folders,
      earlierCalls: async ({ sessionId, turnId }) =>
        new TurnLog(turnId, placeEvents(await readEvents(db, sessionId, eventsMax))).endedCalls(),
    }),
    prepareFolder: folders.prepare,
  };
}
