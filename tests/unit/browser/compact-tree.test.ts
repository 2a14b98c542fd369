import { expect, test } from 'vitest';
import { compactTree } from '../../../sandbox-image/browser/compact-tree.ts';

test('containers that only group are left out and what they hold moves up', () => {
  const tree = [
    '- generic [active] [ref=e1]:',
    '  - generic [ref=e2]:',
    '    - heading "Teas" [level=1] [ref=e3]',
    '    - generic [ref=e4]:',
    '      - button "Find" [ref=e5] [cursor=pointer]',
    '  - list [ref=e6]:',
    '    - listitem [ref=e7]:',
    '      - link "About" [ref=e8] [cursor=pointer]:',
    '        - /url: /about',
  ].join('\n');
  expect(compactTree(tree)).toBe(
    [
      '- heading "Teas" [level=1]',
      '- button "Find" [ref=e5]',
      '- list:',
      '  - listitem:',
      '    - link "About" [ref=e8]:',
      '      - /url: /about',
    ].join('\n'),
  );
});

test('references stay on what can be acted on, also on plain boxes that take clicks', () => {
  expect(compactTree('- generic "Cart" [ref=e1] [cursor=pointer]: 3')).toBe('- generic "Cart" [ref=e1]: 3');
  expect(compactTree('- generic [ref=e1] [cursor=pointer]: 3')).toBe('- generic [ref=e1]: 3');
  expect(compactTree('- textbox "Name" [active] [ref=e9]: Bo')).toBe('- textbox "Name" [ref=e9]: Bo');
  expect(compactTree('- paragraph [ref=e2]: Hello')).toBe('- paragraph: Hello');
});

test('names and texts of the page are left as they are, whatever they look like', () => {
  const tree = '- button "[ref=e1] [cursor=pointer] \\" x" [ref=e2] [cursor=pointer]: [ref=e3]';
  expect(compactTree(tree)).toBe('- button "[ref=e1] [cursor=pointer] \\" x" [ref=e2]: [ref=e3]');
});

test('long addresses are cut', () => {
  const shown = compactTree(`- link "x" [ref=e1]:\n  - /url: https://a.test/${'y'.repeat(5_000)}`);
  expect(shown.length).toBeLessThan(250);
  expect(shown).toContain('…');
});
