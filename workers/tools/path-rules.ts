import path from 'node:path';
import { mayDifferBelow, stricterBelow } from '#core/agents/tree-rights.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { ExecResult, Sandbox } from '../sandbox/sandbox.ts';
import { namesOf, nulToLines } from './shell-quote.ts';
import type { Risk, ToolContext } from './tool.ts';

/** Bytes of names looked at below one directory. */
const namesBytesMax = 2 << 20;
const listMs = 20_000;
const shownMax = 5;

type PathAction = Parameters<typeof mayDifferBelow>[1];
type RulesContext = Pick<ToolContext, 'agent' | 'origin' | 'signal'>;

/** What the grants say of paths below a directory that was allowed as a whole. */
export function stricterPaths(
  { agent, origin }: RulesContext,
  action: PathAction,
  directory: string,
  paths: Iterable<string>,
  risk: Risk = 'low',
): string[] {
  if (!mayDifferBelow(agent, action, directory)) return [];
  const facts = { risk, costMicros: 0n, channel: origin.channel, room: origin.room, at: new Date() };
  return stricterBelow(agent, facts, action, directory, paths);
}

/**
 * Refuses to touch a whole directory when the agent's grants say something stricter of what lies in it: otherwise a
 * protected file could be reached under a new name, or be gone with its folder. A plain file passes.
 * @throws AppError `tool.invalid_arguments`, naming what is in the way.
 */
export async function requireWholeTree(
  context: RulesContext,
  sandbox: Sandbox,
  directory: string,
  touched: readonly { readonly action: PathAction; readonly at: string }[],
): Promise<void> {
  if (!touched.some(({ action, at }) => mayDifferBelow(context.agent, action, at))) return;
  const names = await namesBelow(sandbox, directory, context.signal);
  if (names === undefined) return;
  for (const { action, at } of touched) {
    const found = stricterPaths(
      context,
      action,
      at,
      names.map((name) => path.posix.join(at, name)),
      'medium',
    );
    if (found.length === 0) continue;
    const more = found.length > shownMax ? ` and ${found.length - shownMax} more` : '';
    throw new AppError(
      'tool.invalid_arguments',
      `${directory} holds what needs a permission of its own: ${found.slice(0, shownMax).join(', ')}${more}.`,
      { mend: 'Do it file by file with what is allowed.' },
    );
  }
}

/** Everything below a directory; undefined for what is none. */
async function namesBelow(
  sandbox: Sandbox,
  directory: string,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  let found: ExecResult;
  try {
    found = await sandbox.exec({
      command: `set -o pipefail; find -P . -mindepth 1 -printf '%P\\0' | ${nulToLines} | head -c ${namesBytesMax}`,
      workingDirectory: directory,
      timeoutMs: listMs,
      outputBytesMax: namesBytesMax + 1,
      signal,
    });
  } catch (err) {
    // A plain file, or nothing at all: the operation itself says what is wrong.
    if (isAppError(err, 'tool.invalid_arguments')) return undefined;
    throw err;
  }
  const { names, rest } = namesOf(found.output);
  if (Buffer.byteLength(found.output) >= namesBytesMax || rest !== '') {
    throw new AppError('tool.invalid_arguments', `${directory} holds too many files to check each of them.`, {
      mend: 'Take its folders one by one.',
    });
  }
  // A folder that cannot be looked into could hold anything.
  if (found.ended !== 'exit' || found.exitCode !== 0) {
    throw new AppError('tool.invalid_arguments', `What ${directory} holds cannot be looked at.`, {
      mend: 'Make its folders readable, or do it file by file.',
    });
  }
  return names;
}
