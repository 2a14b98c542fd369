import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mergeEnv, readEnvFile, readNever, writeEnvFile } from '#cli/setup/env-file.ts';

const merge = (text: string, values: Record<string, string>, never: readonly string[] = []) =>
  mergeEnv(text, { values: new Map(Object.entries(values)), never: new Set(never) });

describe('the merged .env', () => {
  it('keeps every line that is not about a new value', () => {
    const text = '# mine\nA=1\n\nexport B="two words"\n# C is for later\n';
    expect(merge(text, { D: 'x' })).toBe('# mine\nA=1\n\nexport B="two words"\n# C is for later\nD=x\n');
  });

  it('a value takes the place of the old one, or of its line in the template', () => {
    expect(merge('A=1\n# B=\n#B is nice\n', { A: '2', B: '3' })).toBe('A=2\nB=3\n#B is nice\n');
    expect(merge('A=1\nA=2\n', { A: '3' })).toBe('A=1\nA=3\n');
    expect(merge('  export A = 1\n', { A: '3' })).toBe('A=3\n');
  });

  it.each(['xoxb-1-a', '123:AA-b_c', 'a#b', 'a"b', "a'b", 'a$b', 'a\\n', '=='])(
    '%j is read back as it was',
    (value) => {
      expect(parseEnv(merge('', { KEY: value }))['KEY']).toBe(value);
    },
  );

  it('remembers what was refused for good, once', () => {
    const once = merge('A=1\n', {}, ['slack', 'discord']);
    expect([...readNever(once)]).toEqual(['discord', 'slack']);
    const twice = merge(once, {}, ['slack']);
    expect([...readNever(twice)]).toEqual(['slack']);
    expect(merge(twice, {})).toBe('A=1\n');
  });
});

describe('the file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'sw-env-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is readable by its owner only, also when it was open before', async () => {
    const file = path.join(folder, '.env');
    writeFileSync(file, 'A=1\n', { mode: 0o644 });
    await writeEnvFile(file, 'A=2\n');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toBe('A=2\n');
  });

  it('a link to a file elsewhere stays a link', async () => {
    writeFileSync(path.join(folder, 'real'), 'A=1\n');
    symlinkSync(path.join(folder, 'real'), path.join(folder, '.env'));
    await writeEnvFile(path.join(folder, '.env'), 'A=2\n');
    expect(readFileSync(path.join(folder, 'real'), 'utf8')).toBe('A=2\n');
  });

  it('a new one begins as the example', async () => {
    writeFileSync(path.join(folder, '.env.example'), '# B=\n');
    expect(await readEnvFile(path.join(folder, '.env'))).toBe('# B=\n');
  });

  it('a folder nobody may write to is told with the mend', async () => {
    await expect(writeEnvFile(path.join(folder, 'no', '.env'), 'A=1\n')).rejects.toMatchObject({
      code: 'config.invalid',
    });
  });
});
