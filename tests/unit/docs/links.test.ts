import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../../..');
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(path.join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => path.join('docs', file)),
];

/** The text of a page without code, in which brackets are no links. */
function proseOf(page: string): string {
  return readFileSync(path.join(root, page), 'utf8')
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .replaceAll(/`[^`\n]*`/g, '');
}

/** What a heading is called in the address of its page. */
function anchorOf(heading: string): string {
  return heading
    .replaceAll(/[`*]/g, '')
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function problemOf(page: string, link: string): string | undefined {
  const [file = '', anchor] = link.split('#');
  const target = file === '' ? page : path.join(path.dirname(page), file);
  if (!existsSync(path.join(root, target))) return `${page}: ${link} leads nowhere`;
  if (anchor === undefined) return undefined;
  const text = readFileSync(path.join(root, target), 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
  const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
  return anchors.includes(anchor) ? undefined : `${page}: ${link} names no heading`;
}

test('every relative link in the README and the docs resolves', () => {
  const links = pages.flatMap((page) =>
    [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => ({ page, link })),
  );
  const relative = links.filter(({ link }) => !/^[a-z]+:/.test(link));
  expect(relative.length).toBeGreaterThan(40);
  expect(relative.flatMap(({ page, link }) => problemOf(page, link) ?? [])).toEqual([]);
});

test('every page of the docs can be reached from the README', () => {
  const seen = new Set(['README.md']);
  for (const page of seen) {
    for (const [, link = ''] of proseOf(page).matchAll(/\]\(([^)\s#]+\.md)/g)) {
      const target = path.join(path.dirname(page), link);
      if (!/^[a-z]+:/.test(link) && existsSync(path.join(root, target))) seen.add(target);
    }
  }
  expect(pages.filter((page) => !seen.has(page))).toEqual([]);
});
