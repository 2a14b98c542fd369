import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { toolNames } from '#app/compose/tools.ts';
import { isAction } from '#core/permissions/actions.ts';

const guide = readFileSync(path.resolve(import.meta.dirname, '../../../docs/guide/tools.md'), 'utf8');
const rows = guide
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));

test('the guide lists every tool a profile may name, and no other', () => {
  expect(rows.map(([, name]) => name).sort()).toEqual([...toolNames].sort());
});

test('the guide names actions that exist', () => {
  expect(rows.flatMap(([, , actions = '']) => actions.split(', ')).filter((action) => !isAction(action))).toEqual([]);
});
