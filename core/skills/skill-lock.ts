import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { AppError } from '../kit/errors.ts';
import { newToken } from '../kit/ids.ts';
import { digestOf, isSkillName } from './skill.ts';

/** Stands in each folder of skills and says which bytes of which skill somebody has reviewed. */
const lockName = 'skills.lock.json';

const pin = z.string().regex(/^[0-9a-f]{64}(?: x)?$/, 'is no SHA-256');

const entrySchema = z.strictObject({
  /** Where it was taken from: `bundled`, `folder:…`, `archive:…`, `git:…`. */
  source: z.string().max(2000),
  commit: z
    .string()
    .regex(/^[0-9a-f]{40,64}$/)
    .optional(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  files: z.record(z.string(), pin),
});

const lockSchema = z.strictObject({
  version: z.literal(1),
  skills: z.record(z.string().refine(isSkillName), entrySchema),
});

export type LockEntry = z.infer<typeof entrySchema>;
export type SkillLock = z.infer<typeof lockSchema>;

const emptyLock: SkillLock = { version: 1, skills: {} };
/** Far more than 500 skills of 500 files need. */
const bytesMax = 64 * 1024 * 1024;

/**
 * Reads the lock of a folder; an absent one pins nothing.
 * @throws AppError `skill.invalid` when it cannot be read: nothing of its folder is used then.
 */
export async function readLock(folder: string): Promise<SkillLock> {
  const file = path.join(folder, lockName);
  try {
    if ((await stat(file)).size > bytesMax) throw new Error('the file is too large');
    const lock = lockSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    for (const [name, entry] of Object.entries(lock.skills)) {
      if (digestOf(entry.files) !== entry.digest) throw new Error(`the digest of ${name} does not fit its files`);
    }
    return lock;
  } catch (err) {
    if (err instanceof Error && 'code' in err && (err.code === 'ENOENT' || err.code === 'ENOTDIR')) return emptyLock;
    const why = err instanceof z.ZodError ? describe(err) : err instanceof Error ? err.message : String(err);
    throw new AppError('skill.invalid', `${file} cannot be used: ${why}.`, {
      mend: 'Put it back from version control, or remove it and trust the skills again.',
      cause: err,
    });
  }
}

/** What is pinned of a skill; a name such as `constructor` is nobody's by itself. */
export function entryOf(lock: Pick<SkillLock, 'skills'>, name: string): LockEntry | undefined {
  return Object.hasOwn(lock.skills, name) ? lock.skills[name] : undefined;
}

/** Writes the lock beside and renames it over: a reader sees the old one or the new one. */
export async function writeLock(folder: string, lock: SkillLock): Promise<void> {
  const sorted = Object.fromEntries(Object.entries(lock.skills).sort(([a], [b]) => (a < b ? -1 : 1)));
  const file = path.join(folder, lockName);
  const beside = `${file}.${newToken(6)}`;
  await writeFile(beside, `${JSON.stringify({ version: 1, skills: sorted }, undefined, 2)}\n`, { mode: 0o644 });
  await rename(beside, file);
}

function describe(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue === undefined
    ? 'it has the wrong shape'
    : `${issue.path.map(String).join('.') || 'the file'}: ${issue.message}`;
}
