import { readUtf8 } from './check-skill.ts';
import { invisibleCharacters } from './parse-skill.ts';
import { pinsOf, type Skill } from './skill.ts';
import type { LockEntry } from './skill-lock.ts';

/** What somebody should have seen before a skill is used. */
export interface SkillReview {
  readonly name: string;
  readonly description: string;
  readonly license: string | undefined;
  readonly digest: string;
  readonly totalBytes: number;
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    readonly isScript: boolean;
    /** Against what was trusted before; undefined when nothing was. */
    readonly change: 'same' | 'changed' | 'new' | undefined;
  }[];
  /** Files that were trusted before and are gone. */
  readonly removed: readonly string[];
  /** Tools it limits itself to; undefined when it does not. */
  readonly allowedTools: readonly string[] | undefined;
  /** Every address in its texts, each once, with the file it stands in first. */
  readonly urls: readonly { readonly url: string; readonly path: string }[];
  /** Lines that skills with bad intentions have, as `file:line what`. A hint for the reader, no verdict. */
  readonly hints: readonly string[];
}

const urlsMax = 200;
const hintsMax = 50;

/** What malicious skills were found to do: fetch and run, hide text, read keys, talk the model round. */
const suspicious: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  {
    what: 'pipes something fetched into an interpreter',
    pattern:
      /\b(?:curl|wget|fetch)\b[^\n|]{0,500}\|\s*(?:sudo\s+)?\S{0,40}\b(?:ba|z|da)?sh\b|\b(?:curl|wget)\b[^\n|]{0,500}\|\s*(?:python|perl|ruby|node)/i,
  },
  {
    what: 'fetches a package and runs it',
    pattern: /\bnpx\s+(?:-y|--yes)\b|\buvx\s|\bpipx run\b|\b(?:pip3?|npm|gem|cargo) install\b/,
  },
  {
    what: 'decodes something and may run it',
    pattern: /\bbase64\s+(?:-d|-D|--decode)\b|\bb64decode\b|\batob\(|\bxxd\s+-r\b/,
  },
  { what: 'has a long run of encoded text', pattern: /[A-Za-z0-9+/]{300,}={0,2}/ },
  {
    what: 'names where keys are kept',
    pattern:
      /\.ssh\/|\bid_rsa\b|\.aws\/credentials|\.npmrc\b|\.netrc\b|\bkeychain\b|\/proc\/\S{1,20}\/environ|\bAPI_KEY\b|\bSECRET\b|\bTOKEN\b/,
  },
  {
    what: 'tells the reader to forget other instructions',
    pattern:
      /\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|above|earlier|other|system)\b.{0,40}\b(?:instructions?|rules?|prompts?)/i,
  },
  {
    what: 'asks for something to be kept from the person',
    pattern:
      /\b(?:do not|don't|never)\b.{0,30}\b(?:tell|mention|inform|show|reveal)\b.{0,40}\b(?:user|person|human|operator)/i,
  },
  { what: 'has a comment that a rendered page hides', pattern: /<!--/ },
];

/** Prepares what is shown before a skill is trusted. @param before what was trusted until now. */
export function reviewSkill(skill: Skill, before?: Pick<LockEntry, 'files'>): SkillReview {
  const { manifest, files, digest, totalBytes } = skill;
  const pins = pinsOf(files);
  const urls = new Map<string, string>();
  const hints: string[] = [];
  for (const file of files) {
    const text = readUtf8(file.bytes);
    if (text === undefined) {
      hints.push(`${file.path} is not text: nobody can review it by reading`);
      continue;
    }
    if (file.path !== 'SKILL.md') hints.push(...invisibleCharacters(text, file.path));
    for (const [url] of text.matchAll(/\b(?:https?|ftp|ssh|git|wss?):\/\/[^\s"'`<>)\]}\\]{1,500}/gi)) {
      const plain = url.replace(/[.,;:!?]+$/, '');
      if (urls.size < urlsMax && !urls.has(plain)) urls.set(plain, file.path);
    }
    for (const [index, line] of text.split('\n').entries()) {
      const shown = line.slice(0, 10_000);
      for (const { what, pattern } of suspicious) {
        if (pattern.test(shown)) hints.push(`${file.path}:${index + 1} ${what}`);
      }
    }
  }
  return {
    name: manifest.name,
    description: manifest.description,
    license: manifest.license,
    digest,
    totalBytes,
    files: files.map((file) => ({
      path: file.path,
      bytes: file.bytes.length,
      isScript: file.path.startsWith('scripts/'),
      change:
        before === undefined
          ? undefined
          : changeOf(Object.hasOwn(before.files, file.path) ? before.files[file.path] : undefined, pins[file.path]),
    })),
    removed: before === undefined ? [] : Object.keys(before.files).filter((path) => !Object.hasOwn(pins, path)),
    allowedTools: manifest.allowedTools,
    urls: [...urls].map(([url, path]) => ({ url, path })),
    hints: hints.slice(0, hintsMax),
  };
}

function changeOf(before: string | undefined, now: string | undefined): 'same' | 'changed' | 'new' {
  if (before === undefined) return 'new';
  return before === now ? 'same' : 'changed';
}
