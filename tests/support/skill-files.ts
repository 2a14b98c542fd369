import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Writes a skill's folder; files below `scripts/` can be executed. @returns its path. */
export function writeSkill(
  below: string,
  name: string,
  options: {
    readonly frontMatter?: string;
    readonly body?: string;
    readonly files?: Readonly<Record<string, string>>;
  } = {},
): string {
  const folder = path.join(below, name);
  const { frontMatter = '', body = 'Do it well.', files = {} } = options;
  const manifest = `---\nname: ${name}\ndescription: Use it for ${name}.\n${frontMatter}---\n${body}\n`;
  for (const [file, content] of Object.entries({ 'SKILL.md': manifest, ...files })) {
    const place = path.join(folder, file);
    mkdirSync(path.dirname(place), { recursive: true });
    writeFileSync(place, content);
    if (file.startsWith('scripts/')) chmodSync(place, 0o755);
  }
  return folder;
}
