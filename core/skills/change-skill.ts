import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError, toAppError } from '../kit/errors.ts';
import { type InstallDeps, type PendingSkill, removeSkill, restoreSkill } from './install-skill.ts';
import type { KnownSkill } from './skill-library.ts';

/** Who changes which skills are used, and how it came. */
export interface SkillActor {
  readonly personId: string;
  readonly via: 'cli' | 'chat';
}

/** What is done to a skill, as the audit has it. */
interface SkillChange {
  readonly kind: 'skill.added' | 'skill.trusted' | 'skill.restored' | 'skill.removed';
  readonly name: string;
  readonly folder: string;
  /** Where its bytes came from; undefined for one that nobody has reviewed. */
  readonly source: string | undefined;
  readonly commit?: string | undefined;
  readonly digest: string | undefined;
}

/** Puts a reviewed skill in place, or pins it where it lies, on the audit first. */
export async function acceptSkill(db: Db, pending: PendingSkill, actor: SkillActor): Promise<void> {
  const { place, source, commit, isInstall, review } = pending;
  await change(
    db,
    {
      kind: isInstall ? 'skill.added' : 'skill.trusted',
      name: review.name,
      folder: place,
      source,
      commit,
      digest: review.digest,
    },
    actor,
    async () => await pending.accept(),
  );
}

/** Takes a skill and its pins away, on the audit first. */
export async function takeSkillAway(db: Db, known: KnownSkill, actor: SkillActor): Promise<void> {
  await change(db, changeOf('skill.removed', known), actor, async () => await removeSkill(known));
}

/** Puts the reviewed bytes of a changed skill back, on the audit first. @throws AppError `skill.invalid`. */
export async function putSkillBack(
  deps: InstallDeps & { readonly db: Db },
  known: KnownSkill,
  actor: SkillActor,
): Promise<void> {
  await change(deps.db, changeOf('skill.restored', known), actor, async () => await restoreSkill(deps, known));
}

function changeOf(kind: SkillChange['kind'], { name, folder, entry }: KnownSkill): SkillChange {
  return { kind, name, folder, source: entry?.source, commit: entry?.commit, digest: entry?.digest };
}

/** The record is there before the files change: the audit may name a change that did not happen, never the other way round. */
async function change(
  db: Db,
  what: SkillChange,
  { personId, via }: SkillActor,
  work: () => Promise<void>,
): Promise<void> {
  const { kind, ...body } = what;
  const chainKey = `skill:${what.name}`;
  await appendAudit(db, [{ kind, chainKey, body: { ...body, personId, via } }]);
  try {
    await work();
  } catch (err) {
    const error = unwritable(err, what.folder);
    const failed = { ...body, personId, via, change: kind, code: toAppError(error).code };
    await appendAudit(db, [{ kind: 'skill.change_failed', chainKey, body: failed }]);
    throw error;
  }
}

/** A folder that cannot be written to is the operator's to mend, and no bug. */
function unwritable(err: unknown, folder: string): unknown {
  const code = err instanceof Error && 'code' in err ? String(err.code) : '';
  if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT'].includes(code)) return err;
  return new AppError('skill.invalid', `${folder} cannot be written to (${code}).`, {
    mend: 'Change it where the folder can be written to, or give the process the right to.',
    cause: err,
  });
}
