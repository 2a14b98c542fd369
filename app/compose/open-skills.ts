import path from 'node:path';
import { SkillLibrary } from '#core/skills/skill-library.ts';
import { type Config, installDir } from '../config.ts';

/** The skills of this installation and project. Reads nothing yet. */
export function openSkills(config: Pick<Config, 'projectDir' | 'agentsDir' | 'skills'>): SkillLibrary {
  return new SkillLibrary({
    bundled: path.join(installDir, 'skills'),
    project: config.skills.folder,
    agentsFolder: config.skills.usesAgentsFolder ? path.join(config.projectDir, '.agents/skills') : undefined,
    agentsDir: config.agentsDir,
    revoked: config.skills.revoked,
  });
}

/** Where the bytes of trusted skills are kept. */
export function keptSkills(config: Pick<Config, 'dataDir'>): string {
  return path.join(config.dataDir, 'skills');
}
