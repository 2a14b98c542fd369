import path from 'node:path';
import { checkSkill } from '#core/skills/check-skill.ts';
import { readFolder } from '#core/skills/read-folder.ts';
import { pinsOf } from '#core/skills/skill.ts';
import { SkillLibrary } from '#core/skills/skill-library.ts';
import { type SkillLock, writeLock } from '#core/skills/skill-lock.ts';

/*
 * Pins the skills that come with the product: node tests/support/pin-skills.main.ts, after one of them was changed and
 * read again. tests/unit/skills/bundled-skills.test.ts fails until then.
 */

const folder = path.resolve(import.meta.dirname, '../../skills');
const library = new SkillLibrary({
  bundled: folder,
  project: folder,
  agentsFolder: undefined,
  agentsDir: folder,
  revoked: [],
});
const skills: SkillLock['skills'] = {};
for (const { name, folder: place, entry } of await library.list()) {
  if (entry !== undefined && entry.source !== 'bundled') continue;
  const { files, problems } = await readFolder(place);
  const { skill, problems: wrong } = checkSkill(files, place, name);
  if (skill === undefined) throw new Error([...problems, ...wrong].join('\n'));
  skills[name] = { source: 'bundled', digest: skill.digest, files: pinsOf(skill.files) };
}
await writeLock(folder, { version: 1, skills });
