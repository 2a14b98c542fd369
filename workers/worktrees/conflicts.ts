import { isAppError } from '#core/kit/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { quoted } from '../tools/shell-quote.ts';
import { plainOutput, shownName } from '../tools/tool-output.ts';
import type { Git } from './git.ts';

const filesMax = 20;
const fileBytesMax = 2 << 20;
const aroundLines = 3;
const fileCharsMax = 5_000;
const totalCharsMax = 22_000;
/** git looks at so many bytes to tell text from other data. */
const binaryBytes = 8_000;

type Stage = 'base' | 'task' | 'other';
const stages: Readonly<Record<string, Stage>> = { '1': 'base', '2': 'task', '3': 'other' };

/** A file that both sides changed so that git could not join them. */
interface Conflict {
  readonly path: string;
  /** The modes of the versions there are: of the common ancestor, of the task, of the base branch. */
  readonly modes: Readonly<Partial<Record<Stage, string>>>;
}

/** What is open in the worktree of a task. */
export async function readConflicts(git: Git): Promise<readonly Conflict[]> {
  const found = new Map<string, Partial<Record<Stage, string>>>();
  for (const entry of await git.names(['ls-files', '--unmerged'])) {
    const [, mode = '', number = '', path = ''] = /^(\d+) [0-9a-f]+ (\d)\t(.+)$/s.exec(entry) ?? [];
    const stage = stages[number];
    if (stage === undefined) continue;
    found.set(path, { ...found.get(path), [stage]: mode });
  }
  return [...found].map(([path, modes]) => ({ path, modes }));
}

/**
 * What keeps a conflict from counting as settled: its markers still stand there, or nothing in the file can show that
 * somebody looked. Undefined when it is settled.
 */
export async function openReason(
  sandbox: Sandbox,
  directory: string,
  conflict: Conflict,
  signal: AbortSignal,
): Promise<string | undefined> {
  const file = await readConflicted(sandbox, directory, conflict, signal);
  switch (file.kind) {
    case 'gone':
      return undefined;
    case 'text':
      if (markersOf(file.text).length > 0) return 'conflict markers are left in it';
      return isTextConflict(conflict) ? undefined : describeKind(conflict);
    case 'other':
      return describeKind(conflict);
  }
}

/** Each conflict as a model needs it to settle it: the lines of the ancestor, of the task and of the base branch. */
export async function describeConflicts(
  sandbox: Sandbox,
  directory: string,
  conflicts: readonly Conflict[],
  signal: AbortSignal,
): Promise<string> {
  const texts: string[] = [];
  let left = totalCharsMax;
  for (const conflict of conflicts.slice(0, filesMax)) {
    const file = await readConflicted(sandbox, directory, conflict, signal);
    const hunks = file.kind === 'text' ? hunksOf(file.text) : '';
    const shown = hunks.length > Math.min(fileCharsMax, left) ? cutHunks(hunks, Math.min(fileCharsMax, left)) : hunks;
    const text = `${shownName(`${directory}/${conflict.path}`)}: ${hunks === '' ? describeKind(conflict) : 'both changed these lines'}${shown === '' ? '' : `\n${shown}`}`;
    left = Math.max(200, left - text.length);
    texts.push(text);
  }
  const more = conflicts.length - filesMax;
  if (more > 0) texts.push(`[${more} more files with conflicts; they are told when these are settled]`);
  return texts.join('\n\n');
}

type Conflicted = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'gone' | 'other' };

async function readConflicted(
  sandbox: Sandbox,
  directory: string,
  { path }: Conflict,
  signal: AbortSignal,
): Promise<Conflicted> {
  const place = `${directory}/${path}`;
  const name = place.slice(place.lastIndexOf('/') + 1);
  const folder = place.slice(0, place.lastIndexOf('/'));
  // A name that is no UTF-8 cannot be asked for: whoever settles it has to say so.
  if (path.includes('\ufffd')) return { kind: 'other' };
  const word = quoted(`./${name}`);
  try {
    const { output } = await sandbox.exec({
      // What a link leads to is not the file that is in conflict.
      command: `if [ -L ${word} ]; then echo link; elif [ -f ${word} ]; then echo file; elif [ -e ${word} ]; then echo other; else echo gone; fi`,
      workingDirectory: folder,
      timeoutMs: 10_000,
      outputBytesMax: 100,
      signal,
    });
    const kind = output.trim();
    if (kind === 'gone') return { kind: 'gone' };
    if (kind !== 'file') return { kind: 'other' };
  } catch (err) {
    // Its folder is gone, too.
    if (isAppError(err, 'tool.invalid_arguments')) return { kind: 'gone' };
    throw err;
  }
  const { bytes, totalBytes } = await sandbox.readBytes(place, { bytesMax: fileBytesMax + 1, signal });
  if (totalBytes > fileBytesMax || bytes.subarray(0, binaryBytes).includes(0)) return { kind: 'other' };
  return { kind: 'text', text: bytes.toString('utf8') };
}

/** Whether git wrote markers: both sides have the file, as a plain one. */
function isTextConflict({ modes }: Conflict): boolean {
  return modes.task?.startsWith('100') === true && modes.other?.startsWith('100') === true;
}

function describeKind({ modes }: Conflict): string {
  const settle = 'leave it as it should be, then name it in accept';
  if (modes.other === undefined) return `changed in the task, deleted in the base branch; ${settle}`;
  if (modes.task === undefined) return `deleted in the task, changed in the base branch; ${settle}`;
  const kinds = [modes.task, modes.other];
  if (kinds.includes('160000')) return `a submodule that both moved; ${settle}`;
  if (kinds.includes('120000')) return `a link that both changed; ${settle}`;
  return `no text, or too large to show; it stands as the task has it: ${settle}`;
}

const markerPattern = /^(?:<{7}|\|{7}|={7}|>{7})(?: |$)/;

/** The lines of a text that begin or end a side of a conflict, from 0 on; empty without a whole one. */
export function markersOf(text: string): readonly number[] {
  const lines = text.split(/\r?\n/);
  const found = lines.flatMap((line, index) => (/^(?:<{7}|\|{7}|>{7})(?: |$)/.test(line) ? [index] : []));
  return found;
}

/** The parts of a file that hold markers, with their line numbers and a few lines around. */
export function hunksOf(text: string): string {
  const lines = text.split(/\r?\n/);
  const shown = new Set<number>();
  let openAt: number | undefined;
  lines.forEach((line, index) => {
    const mark = markerPattern.exec(line)?.[0].charAt(0);
    if (mark === '<') openAt = index;
    if (mark !== '>' || openAt === undefined) return;
    const last = Math.min(lines.length - 1, index + aroundLines);
    for (let at = Math.max(0, openAt - aroundLines); at <= last; at += 1) shown.add(at);
    openAt = undefined;
  });
  let before = -1;
  return [...shown]
    .sort((a, b) => a - b)
    .map((at) => {
      const gap = before !== -1 && at > before + 1 ? '…\n' : '';
      before = at;
      return `${gap}${at + 1}\t${plainOutput(lines[at] ?? '')}`;
    })
    .join('\n');
}

function cutHunks(hunks: string, charsMax: number): string {
  const cut = hunks.slice(0, charsMax);
  const whole = cut.slice(0, Math.max(0, cut.lastIndexOf('\n')));
  return `${whole}\n[more of this file is not shown: read it]`;
}
