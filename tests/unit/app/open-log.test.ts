import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { openLog } from '#app/open-log.ts';
import { openRedaction } from '#app/open-redaction.ts';
import { AppError } from '#core/kit/errors.ts';
import { eventually } from '#tests/support/eventually.ts';

const value = 'log-"secret"-0123456789';
const awsKey = `AKIA${'IOSFODNN7EXAMPLE'}`;

test('a line is written without secrets, whichever field, message or stack they are in', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'sw-log-'));
  const { redactor } = openRedaction([{ label: 'TOKEN', value }]);
  const log = openLog({ logLevel: 'trace', dataDir }, 'file', redactor);
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const cause = new Error(`connect to ${value}\n${awsKey}`);
  log.info({ url: `https://x.example/bot${value}`, deep: { [value]: [value] } }, 'harmless words');
  log
    .child({ token: value })
    .warn({ err: new AppError('config.invalid', `with ${value}`, { cause }) }, `said ${value}`);
  log.info({ turnId: '0192f0c0-1111-7222-8333-444455556666' }, 'untouched');
  const file = path.join(dataDir, 'switchyard.log');
  await eventually(() => expect(existsSync(file) && readFileSync(file, 'utf8')).toMatch(/untouched.*\n$/));
  const shown = said.mock.calls.map(([text]) => String(text)).join('');
  said.mockRestore();
  const written = readFileSync(file, 'utf8');
  const lines = written
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({
    msg: 'harmless words',
    url: 'https://x.example/bot[redacted: TOKEN]',
    deep: { '[redacted: TOKEN]': ['[redacted: TOKEN]'] },
  });
  expect(lines[1]).toMatchObject({ token: '[redacted: TOKEN]', msg: 'said [redacted: TOKEN]' });
  expect(lines[2]).toMatchObject({ turnId: '0192f0c0-1111-7222-8333-444455556666' });
  expect(shown).toBe(
    'said [redacted: TOKEN]: with [redacted: TOKEN]: connect to [redacted: TOKEN]\n[redacted: an AWS key]\n',
  );
  for (const secret of [value, JSON.stringify(value).slice(1, -1), awsKey])
    expect(written + shown).not.toContain(secret);
  rmSync(dataDir, { recursive: true });
});
