import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { errorTable } from '#core/kit/errors.ts';

const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/errors.md'), 'utf8');
const entries = page
  .split(/^### /m)
  .slice(1)
  .map((entry) => ({ code: entry.split('\n', 1)[0]?.trim() ?? '', text: entry.slice(entry.indexOf('\n') + 1) }));

test('the page has one entry for each code and no other', () => {
  expect(entries.map((entry) => entry.code)).toEqual(Object.keys(errorTable).sort());
});

test('each entry says who acts, whether it is tried again and who is told, as the table does', () => {
  const said = Object.fromEntries(entries.map(({ code, text }) => [code, text.trim().split('\n', 1)[0]]));
  const meant = Object.fromEntries(
    Object.entries(errorTable).map(([code, { blame, retry, chat }]) => [
      code,
      `Blame ${blame} · ${retry ? 'may succeed when tried again' : 'not tried again'} · ${chat ? 'shown in the chat' : 'not shown in the chat'}`,
    ]),
  );
  expect(said).toEqual(meant);
});

test('each entry says what it means and what to do', () => {
  const silent = entries.filter(({ text }) => !/\n\n\S.*\n\n\*\*Mend:\*\* \S/s.test(text));
  expect(silent.map((entry) => entry.code)).toEqual([]);
});
