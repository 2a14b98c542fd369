import path from 'node:path';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { loadAgents } from '#core/agents/load-agents.ts';
import { openSkills } from './compose/open-skills.ts';
import { toolNames } from './compose/tools.ts';
import { type Config, installDir } from './config.ts';

/** The bundled agents and the project's own, which take the place of bundled ones of the same name. */
export async function loadProjectAgents(
  config: Pick<Config, 'agentsDir'> & Partial<Pick<Config, 'mcpServers' | 'projectDir' | 'skills'>>,
): Promise<readonly AgentProfile[]> {
  const folders = [...new Set([path.join(installDir, 'agents'), config.agentsDir])];
  const { agentsDir, projectDir, skills } = config;
  const library =
    projectDir === undefined || skills === undefined ? undefined : openSkills({ agentsDir, projectDir, skills });
  return await loadAgents({
    folders,
    knownTools: toolNames,
    knownServers: [...(config.mcpServers?.keys() ?? [])],
    ...(library === undefined
      ? {}
      : { skillsOf: async (agent) => (await library.list(agent)).map((skill) => skill.name) }),
  });
}
