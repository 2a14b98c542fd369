import type { Locator, Page } from 'playwright-core';
import type { ElementTarget } from '../../workers/browser/driver-protocol.ts';
import { CommandError } from './command-error.ts';

/** How long an element may take to appear, and how often it is looked for. */
const appearMs = 3_000;
const lookAgainMs = 100;
/** Names offered when nothing fits. */
const nearMax = 6;
/** The tree is only searched for near names up to this length. */
const treeCharsMax = 200_000;

type Role = Parameters<Page['getByRole']>[0];

/**
 * The one visible element a target names; waits for it to appear.
 * @throws CommandError `not_found` with names that are near, `ambiguous` with what fits.
 */
export async function findElement(page: Page, target: ElementTarget, signal: AbortSignal): Promise<Locator> {
  const ways = waysTo(page, target);
  // A ref belongs to what was read; nothing new gets it.
  const deadline = performance.now() + (target.ref === undefined ? appearMs : 0);
  let several: { readonly count: number; readonly way: Locator } | undefined;
  for (;;) {
    signal.throwIfAborted();
    several = undefined;
    for (const way of ways) {
      const count = await way.count();
      if (count === 1) return way;
      if (count === 0) continue;
      const visible = way.filter({ visible: true });
      const seen = await visible.count();
      if (seen === 1) return visible;
      if (seen > 1) several ??= { count: seen, way: visible };
    }
    // What fits too well now fits no better later; only what is missing is worth waiting for.
    if (several !== undefined || performance.now() > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
  }
  const tree = await readTree(page, signal);
  if (several !== undefined) {
    throw new CommandError(
      'ambiguous',
      `${several.count} elements fit ${describeTarget(target)}. Use a ref${listOf(fitting(tree, target))}`,
    );
  }
  const hint = target.ref === undefined ? '' : ' Refs are good until the page changes: read it again.';
  throw new CommandError('not_found', `Nothing fits ${describeTarget(target)}.${hint}${nearOf(tree, target)}`);
}

/** How a target is called in a message. */
export function describeTarget({ ref, role, name, css }: ElementTarget): string {
  if (ref !== undefined) return `ref ${ref}`;
  if (css !== undefined) return `css ${css}`;
  return [role, name === undefined ? undefined : JSON.stringify(name)].filter((part) => part !== undefined).join(' ');
}

/** From the strictest reading of the target to the loosest. */
function waysTo(page: Page, { ref, role, name, css }: ElementTarget): readonly Locator[] {
  if (ref !== undefined) return [page.getByRef(ref)];
  if (css !== undefined) return [page.locator(`css=${css}`)];
  if (role !== undefined) {
    // An unknown role fits nothing and is then told like any other miss.
    const known = role as Role;
    if (name === undefined) return [page.getByRole(known)];
    return [page.getByRole(known, { name, exact: true }), page.getByRole(known, { name })];
  }
  if (name === undefined) throw new CommandError('failed', 'Name the element: by ref, by role and name, or by css.');
  return [
    page.getByLabel(name, { exact: true }),
    page.getByRole('button', { name, exact: true }),
    page.getByRole('link', { name, exact: true }),
    page.getByPlaceholder(name, { exact: true }),
    page.getByText(name, { exact: true }),
    page.getByLabel(name),
    page.getByPlaceholder(name),
    page.getByText(name),
  ];
}

interface TreeEntry {
  readonly role: string;
  readonly name: string;
  readonly ref: string;
}

async function readTree(page: Page, signal: AbortSignal): Promise<readonly TreeEntry[]> {
  const text = await page.ariaSnapshot({ mode: 'ai', timeout: appearMs, signal }).catch(() => '');
  return text
    .slice(0, treeCharsMax)
    .split('\n')
    .flatMap((line) => {
      const found = /^\s*- '?([a-z]+) "((?:[^"\\]|\\.)*)".*\[ref=([a-z0-9]+)\]/.exec(line);
      return found === null ? [] : [{ role: found[1] ?? '', name: found[2] ?? '', ref: found[3] ?? '' }];
    });
}

function fitting(tree: readonly TreeEntry[], { role, name }: ElementTarget): readonly TreeEntry[] {
  const wanted = name?.toLowerCase();
  return tree
    .filter((entry) => role === undefined || entry.role === role)
    .filter((entry) => wanted === undefined || entry.name.toLowerCase().includes(wanted));
}

function listOf(entries: readonly TreeEntry[]): string {
  if (entries.length === 0) return '.';
  const shown = entries.slice(0, nearMax).map(({ role, name, ref }) => `${role} "${name.slice(0, 80)}" (${ref})`);
  return `: ${shown.join(', ')}${entries.length > nearMax ? ', …' : ''}.`;
}

function nearOf(tree: readonly TreeEntry[], target: ElementTarget): string {
  const wanted = target.name?.toLowerCase();
  const ranked = tree
    .filter((entry) => wanted !== undefined || entry.role === target.role)
    .map((entry) => ({ entry, score: scoreOf(entry, wanted, target.role) }))
    .filter(({ score }) => score > 0)
    .sort((left, right) => right.score - left.score)
    .map(({ entry }) => entry);
  if (ranked.length > 0) return ` Near${listOf(ranked)}`;
  return target.css === undefined && target.ref === undefined ? ' Read the page to see what is on it.' : '';
}

/** Shared pairs of letters, with a bonus for the same role; 0 for nothing in common. */
function scoreOf(entry: TreeEntry, wanted: string | undefined, role: string | undefined): number {
  if (wanted === undefined) return 1;
  const name = entry.name.toLowerCase();
  if (name === '') return 0;
  const own = pairsOf(name);
  const theirs = pairsOf(wanted);
  const shared = [...theirs].filter((pair) => own.has(pair)).length;
  const likeness = theirs.size === 0 ? Number(name.includes(wanted)) : (2 * shared) / (own.size + theirs.size);
  return likeness < 0.2 ? 0 : likeness + (entry.role === role ? 0.3 : 0);
}

function pairsOf(text: string): ReadonlySet<string> {
  return new Set(Array.from({ length: Math.max(0, text.length - 1) }, (_, index) => text.slice(index, index + 2)));
}
