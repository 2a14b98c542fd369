import { parseSkill } from './parse-skill.ts';
import { digestOf, hashBytes, pinsOf, type RawFile, type Skill, skillLimits } from './skill.ts';

/** A skill, or what is wrong with it; problems as `place message`. */
export type CheckedSkill =
  | { readonly skill: Skill; readonly problems: readonly [] }
  | { readonly skill: undefined; readonly problems: readonly string[] };

/**
 * Holds the files of a skill against every rule: shape of `SKILL.md`, number and size, names, what may be executed.
 * @param source where the files come from, for messages.
 * @param folderName what the skill must be called; undefined when the source has no name of its own.
 */
export function checkSkill(files: readonly RawFile[], source: string, folderName: string | undefined): CheckedSkill {
  const problems: string[] = [];
  const totalBytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
  if (files.length > skillLimits.filesMax) {
    problems.push(`${source} has ${files.length} files; a skill has at most ${skillLimits.filesMax}`);
  }
  if (totalBytes > skillLimits.bytesMax) {
    problems.push(`${source} has ${totalBytes} bytes; a skill has at most ${skillLimits.bytesMax}`);
  }
  const seen = new Map<string, string>();
  for (const file of files) {
    const place = `${source}/${showable(file.path)}`;
    const wrong = wrongPath(file.path);
    if (wrong !== undefined) problems.push(`${place} ${wrong}`);
    // On a file system that ignores case, one of the two would take the place of the other.
    const folded = file.path.normalize('NFC').toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) problems.push(`${place} has the same name as ${showable(twin)}`);
    seen.set(folded, file.path);
    if (!file.path.startsWith('scripts/') && (file.isExecutable || isProgram(file.bytes))) {
      problems.push(`${place} can be executed; what is executed belongs into scripts/`);
    }
  }
  const own = files.find((file) => file.path === 'SKILL.md');
  if (own === undefined) {
    problems.push(`${source} has no SKILL.md`);
    return { skill: undefined, problems };
  }
  const place = `${source}/SKILL.md`;
  if (own.bytes.length > skillLimits.manifestBytesMax) {
    problems.push(`${place}:1:1 has ${own.bytes.length} bytes; it has at most ${skillLimits.manifestBytesMax}`);
    return { skill: undefined, problems };
  }
  const text = readUtf8(own.bytes);
  if (text === undefined) return { skill: undefined, problems: [...problems, `${place}:1:1 is not UTF-8 text`] };
  const parsed = parseSkill(text, place, folderName);
  problems.push(...parsed.problems);
  if (parsed.manifest === undefined || problems.length > 0) return { skill: undefined, problems };
  const hashed = files
    .map((file) => ({ ...file, sha256: hashBytes(file.bytes) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return {
    skill: { manifest: parsed.manifest, files: hashed, digest: digestOf(pinsOf(hashed)), totalBytes },
    problems: [],
  };
}

/** A name as it may be printed: a stranger's file can be called anything, terminal sequences among it. */
export function showable(name: string): string {
  return name.slice(0, 300).replaceAll(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, '?');
}

/** The text of bytes that are UTF-8 without NUL; undefined for anything else. */
export function readUtf8(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.includes('\u0000') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Why a path cannot be one of a skill; undefined when it can. */
function wrongPath(path: string): string | undefined {
  const segments = path.split('/');
  if (
    path === '' ||
    path.startsWith('/') ||
    segments.includes('') ||
    segments.includes('..') ||
    segments.includes('.')
  ) {
    return 'leads out of the skill';
  }
  if (segments.length - 1 > skillLimits.depthMax) return `lies more than ${skillLimits.depthMax} folders deep`;
  if (segments.includes('__proto__')) return 'has a name that means something to programs';
  if (segments.some((segment) => segment.startsWith('.'))) return 'is hidden; a skill has no dotfiles';
  if (path.length > 512 || segments.some((segment) => Buffer.byteLength(segment) > 200)) return 'has too long a name';
  // Letters of any script, digits and a few marks: nothing that means something to a shell, a terminal or a reader.
  if (!/^[\p{L}\p{M}\p{N} _.,@+=/-]+$/u.test(path)) return 'has a character in its name that is not allowed there';
  return undefined;
}

/** ELF, PE, Mach-O in its four spellings and WebAssembly. */
function isProgram(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 4)).toString('hex');
  return (
    head === '7f454c46' || head.startsWith('4d5a') || /^(?:feedface|feedfacf|cefaedfe|cffaedfe|0061736d)$/.test(head)
  );
}
