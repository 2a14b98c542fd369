import { describeBytes } from '../files/file-name.ts';
import { AppError } from '../kit/errors.ts';
import { describeLimit, readToolLimit } from '../skills/allowed-tools.ts';
import type { PendingSkill } from '../skills/install-skill.ts';
import type { KnownSkill } from '../skills/skill-library.ts';

/** What fits into a message that somebody reads to its end. */
const reviewCharsMax = 6000;

/**
 * All that somebody should have seen before they let a skill in.
 * @throws AppError `command.invalid` when that is too much for a message: nobody approves what was left out.
 */
export function skillReview({ review, source, commit }: PendingSkill, forWhom: string): string {
  const limit =
    review.allowedTools === undefined
      ? 'does not limit itself; the agent’s own grants hold'
      : `limits itself to ${code(describeLimit(readToolLimit(review.name, review.allowedTools)))}; the agent’s own grants hold as well`;
  const files = review.files.map((file) => {
    const marks = [
      describeBytes(file.bytes),
      ...(file.isScript ? ['script'] : []),
      ...(file.change === undefined || file.change === 'same' ? [] : [file.change]),
    ];
    return `- ${code(file.path)} ${marks.join(', ')}`;
  });
  const text = [
    `Let ${forWhom} use the skill **${review.name}**?`,
    `> ${plain(review.description)}`,
    `From ${code(publicSource(source))}${commit === undefined ? '' : ` at ${code(commit.slice(0, 12))}`}, license ${plain(review.license ?? 'not told')}, digest ${code(shortDigest(review.digest))}`,
    `**Tools**: ${limit}`,
    [`**${review.files.length} files**, ${describeBytes(review.totalBytes)}`, ...files].join('\n'),
    ...(review.removed.length === 0
      ? []
      : [['**Removed**', ...review.removed.map((path) => `- ${code(path)}`)].join('\n')]),
    [
      '**Addresses in it**',
      ...(review.urls.length === 0 ? ['- none'] : review.urls.map(({ url, path }) => `- ${code(url)} (${code(path)})`)),
    ].join('\n'),
    ...(review.hints.length === 0
      ? []
      : [['**⚠️ Look at these first**', ...review.hints.map((hint) => `- ${plain(hint)}`)].join('\n')]),
  ].join('\n\n');
  if (text.length <= reviewCharsMax) return text;
  throw new AppError('command.invalid', `There is more in the skill ${review.name} than can be reviewed in a chat.`, {
    mend: 'Add it at the terminal with ./switchyard skill add, which shows all of it.',
  });
}

/** One skill of an agent on one line: where from, which bytes, what it may do, and why it is not used. */
export function skillLine({ name, scope, entry, status }: KnownSkill): string {
  const from = entry === undefined || entry.source === 'bundled' ? '' : `, from ${code(publicSource(entry.source))}`;
  const pinned = entry === undefined ? 'not pinned' : `pinned ${code(shortDigest(entry.digest))}`;
  const head = `- **${plain(name)}** (${scope}${from}): ${pinned}`;
  if (status.state !== 'ready') return `${head}; **not used**: ${plain(status.reason)}`;
  const { allowedTools, description } = status.manifest;
  const rights =
    allowedTools === undefined
      ? 'no limit of its own'
      : `limits itself to ${code(describeLimit(readToolLimit(name, allowedTools)))}`;
  return `${head}; ${rights}. ${plain(description)}`;
}

/** Where a skill came from, without what the folders of this machine are called. */
function publicSource(source: string): string {
  const [, kind, place = ''] = /^(folder|archive):(.*)$/s.exec(source) ?? [];
  return kind === undefined ? source : `${kind} ${place.split('/').at(-1) ?? ''}`;
}

function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** A stranger's words, so that they cannot put marks, links or mentions into our text. */
export function plain(text: string): string {
  return text
    .replaceAll(/[\s*_`[\]<>|~@\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+/g, ' ')
    .trim()
    .slice(0, 1200);
}

function code(text: string): string {
  return `\`${text.replaceAll(/[\s`\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+/g, ' ').slice(0, 600)}\``;
}
