import { z } from 'zod';
import { describeBytes } from '#core/files/file-name.ts';
import { estimateTextTokens } from '#core/models/estimate-tokens.ts';
import { describeLimit, readToolLimit } from '#core/skills/allowed-tools.ts';
import { readUtf8 } from '#core/skills/check-skill.ts';
import type { Skill, SkillFile } from '#core/skills/skill.ts';
import type { SkillLibrary } from '#core/skills/skill-library.ts';
import type { Tool } from './tool.ts';
import { truncateMiddle } from './tool-output.ts';

/** Where the files of skills stand in a sandbox. */
export const skillsMount = '/run/host/skills';
/** Tokens of a body that are handed out, as the format recommends at most. */
const bodyTokensMax = 5_000;
const filesShownMax = 100;

const parameters = z.strictObject({
  name: z.string().min(1).max(64).describe('A name from the list of skills.'),
  file: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('A file of the skill to read instead of its instructions, such as references/style.md.'),
});

/** Loads a skill's instructions, or one of its files, after its bytes were compared with what was reviewed. */
export function useSkillTool(deps: { readonly library: SkillLibrary }): Tool<z.infer<typeof parameters>> {
  return {
    name: 'use_skill',
    description:
      'Load a skill: the instructions of this team for a kind of work. Call it before you begin work that a skill ' +
      'describes, then follow what it returns. Its files are read-only below /run/host/skills/<name>; run its scripts with exec.',
    parameters,
    // What it allows bounds the calls behind it, so they wait for it.
    isParallelSafe: false,
    isIdempotent: true,
    claim: ({ name, file }) => ({
      action: 'skill.use',
      resource: name,
      risk: 'low',
      summary: file === undefined ? `Use the skill ${name}` : `Read ${file} of the skill ${name}`,
    }),
    run: async ({ name, file }, { agent }) => {
      const { skill } = await deps.library.read(agent, name);
      return file === undefined ? { text: describe(skill), isError: false } : readOne(skill, file);
    },
  };
}

function describe({ manifest, files }: Skill): string {
  const { name, allowedTools, compatibility } = manifest;
  const folder = `${skillsMount}/${name}`;
  const body = cutBody(manifest.body, `${folder}/SKILL.md`);
  const others = files.filter((file) => file.path !== 'SKILL.md');
  return [
    `<skill name="${name}">\n${body}\n</skill>`,
    compatibility === undefined ? '' : `It is made for: ${compatibility}`,
    others.length === 0
      ? ''
      : `Files in ${folder}, read-only (relative paths above are taken from there; where a sandbox does not have them, read them with file):\n${listFiles(others)}`,
    allowedTools === undefined
      ? ''
      : `For the rest of this turn only these tools may be called: ${describeLimit(readToolLimit(name, allowedTools))}, and use_skill.`,
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** The beginning of a body that is too long, cut at a line. */
function cutBody(body: string, place: string): string {
  if (estimateTextTokens(body) <= bodyTokensMax) return body;
  const lines = body.split('\n');
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (estimateTextTokens(lines.slice(0, middle).join('\n')) <= bodyTokensMax) low = middle;
    else high = middle - 1;
  }
  const kept = low === 0 ? body.slice(0, 2 * bodyTokensMax) : lines.slice(0, low).join('\n');
  return `${kept}\n\n[Cut here: the instructions are longer than ${bodyTokensMax} tokens. The whole text is ${place}.]`;
}

function listFiles(files: readonly SkillFile[]): string {
  const lines = files
    .slice(0, filesShownMax)
    .map((file) => `- ${file.path} (${describeBytes(file.bytes.length)}${file.isExecutable ? ', executable' : ''})`);
  if (files.length > filesShownMax) lines.push(`- and ${files.length - filesShownMax} more`);
  return lines.join('\n');
}

function readOne(skill: Skill, wanted: string) {
  const plain = wanted.replace(/^\.\//, '').replace(`${skillsMount}/${skill.manifest.name}/`, '');
  const file = skill.files.find((item) => item.path === plain);
  if (file === undefined) {
    const names = skill.files.map((item) => item.path).slice(0, filesShownMax);
    return { text: `The skill has no file "${wanted}". It has: ${names.join(', ')}.`, isError: true };
  }
  const text = readUtf8(file.bytes);
  if (text === undefined) return { text: `${plain} is not text (${describeBytes(file.bytes.length)}).`, isError: true };
  return { text: truncateMiddle(text), isError: false };
}
