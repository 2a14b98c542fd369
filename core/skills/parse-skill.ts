import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { didYouMean } from '../kit/nearest-word.ts';
import { isSkillName, type SkillManifest } from './skill.ts';

/** The front matter of the Agent Skills format (agentskills.io), nothing more and nothing less. */
const frontMatterSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(64)
    .refine(isSkillName, 'is made of a-z, 0-9 and single hyphens, with none at its beginning or end'),
  description: z
    .string()
    .max(1024)
    .refine((text) => text.trim() !== '', 'is empty; it says what the skill does and when to use it'),
  license: z.string().max(500).optional(),
  compatibility: z.string().min(1).max(500).optional(),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).default({}),
  /** A list is what some writers make of the text with blanks. */
  'allowed-tools': z.union([z.string(), z.array(z.string())]).optional(),
});

const knownKeys = Object.keys(frontMatterSchema.shape);

export interface ParsedSkill {
  /** Undefined when there are problems. */
  readonly manifest: SkillManifest | undefined;
  /** Each as `file:line:column message`. */
  readonly problems: readonly string[];
}

/**
 * Reads a `SKILL.md`: YAML between two `---` lines, then the instructions. Reports every problem with its place.
 * @param source the path for messages.
 * @param folderName what the skill must be called, because its folder is.
 */
export function parseSkill(text: string, source: string, folderName: string | undefined): ParsedSkill {
  const plain = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const problems = invisibleCharacters(plain, source);
  const split = /^---[ \t]*\n([\s\S]*?\n)?---[ \t]*(?:\n([\s\S]*))?$/.exec(plain);
  if (split === null) {
    const why = plain.startsWith('---') ? 'the front matter has no closing ---' : 'the file must begin with ---';
    return { manifest: undefined, problems: [...problems, `${source}:1:1 ${why}`] };
  }
  const lines = new LineCounter();
  // One line more in front, so that the reader's line numbers are those of the file.
  const yaml = parseDocument(`\n${split[1] ?? ''}`, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${source}:${line}:${col}`;
  };
  if (yaml.errors.length > 0) {
    return {
      manifest: undefined,
      problems: [...problems, ...yaml.errors.map((err) => `${at(err.pos[0])} ${err.message}`)],
    };
  }
  const offsetOf = (key: PropertyKey | undefined): number => {
    const pair = isMap(yaml.contents)
      ? yaml.contents.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      : undefined;
    return isScalar(pair?.key) ? (pair.key.range?.[0] ?? 1) : 1;
  };
  let data: unknown;
  try {
    data = yaml.toJS() ?? {};
  } catch (err) {
    // An alias that multiplies itself; the reader refuses to unfold it.
    return {
      manifest: undefined,
      problems: [...problems, `${at(1)} ${err instanceof Error ? err.message : String(err)}`],
    };
  }
  const parsed = frontMatterSchema.safeParse(data);
  for (const issue of parsed.error?.issues ?? []) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const hint = didYouMean(key, knownKeys) || `; the format knows ${knownKeys.join(', ')}`;
        problems.push(`${at(offsetOf(key))} unknown key "${key}"${hint}`);
      }
    } else {
      problems.push(
        `${at(offsetOf(issue.path[0]))} ${issue.path.map(String).join('.') || 'front matter'}: ${issue.message}`,
      );
    }
  }
  const body = (split[2] ?? '').trim();
  if (body === '') problems.push(`${source}:1:1 the instructions below the front matter are empty`);
  if (parsed.success && folderName !== undefined && parsed.data.name !== folderName) {
    problems.push(
      `${at(offsetOf('name'))} name: the skill is named "${parsed.data.name}", so its folder is ${parsed.data.name}, not ${folderName}`,
    );
  }
  if (!parsed.success || problems.length > 0) return { manifest: undefined, problems };
  const { name, description, license, compatibility, metadata } = parsed.data;
  return {
    manifest: {
      name,
      description: description.trim().replaceAll(/\s+/g, ' '),
      license,
      compatibility,
      metadata,
      allowedTools: toolWords(parsed.data['allowed-tools']),
      body,
    },
    problems: [],
  };
}

/** Words of `allowed-tools`; what stands in brackets belongs to the word before it, blanks included. */
function toolWords(given: string | readonly string[] | undefined): readonly string[] | undefined {
  if (given === undefined) return undefined;
  const text = typeof given === 'string' ? given : given.join(' ');
  return [...text.matchAll(/[^\s,(]+(?:\([^)]*\))?/g)].map((match) => match[0]);
}

/**
 * Characters that a reviewer does not see and a model reads: everything Unicode says may be left out when a text is shown
 * (joiners, tags, variation selectors), direction marks, private use, control characters.
 */
const invisible =
  /\p{Default_Ignorable_Code_Point}|\p{Co}|\p{Zl}|\p{Zp}|[\u200e\u200f\u202a-\u202e\ufff9-\ufffb]|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/u;

/** What joins emoji and shapes letters of some scripts, where it does that. */
const shaping =
  /(?<=\ufe0f|[\p{L}\p{M}\p{Extended_Pictographic}])[\u200c\u200d](?=[\p{L}\p{M}\p{Extended_Pictographic}])|(?<=[\p{Extended_Pictographic}0-9#*])\ufe0f/gu;

/** Where a text has characters that nobody sees, as `file:line:column message`; the first of each line. */
export function invisibleCharacters(text: string, source: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const seen = line.replace(/\r$/, '').replaceAll(shaping, (join) => '.'.repeat(join.length));
    const found = invisible.exec(seen);
    if (found === null) return [];
    const code = (found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    return [
      `${source}:${index + 1}:${found.index + 1} the invisible character U+${code}; nobody who reviews the text would see it`,
    ];
  });
}
