import { describe, expect, test } from 'vitest';
import { AppError } from '#core/kit/errors.ts';
import { testAgent, toolContext } from '#tests/support/tool-context.ts';
import type { Sandbox, SearchMatch } from '#workers/sandbox/sandbox.ts';
import { deleteFileTool } from '#workers/tools/delete-file.ts';
import { editFileTool } from '#workers/tools/edit-file.ts';
import { globTool } from '#workers/tools/glob.ts';
import { moveFileTool } from '#workers/tools/move-file.ts';
import { readFileTool } from '#workers/tools/read-file.ts';
import { searchFilesTool } from '#workers/tools/search-files.ts';
import { writeFileTool } from '#workers/tools/write-file.ts';

/** One file in memory, read in parts as a sandbox reads it. */
function fileOf(text: string): Pick<Sandbox, 'readFile' | 'readBytes'> {
  const bytes = Buffer.from(text);
  return {
    readFile: async (_, { offset = 0, bytesMax }) => ({
      text: bytes.subarray(offset, offset + Math.min(bytesMax, 64)).toString(),
      totalBytes: bytes.length,
      nextOffset: Math.min(bytes.length, offset + Math.min(bytesMax, 64)),
    }),
    readBytes: async (_, { bytesMax }) => ({ bytes: bytes.subarray(0, bytesMax), totalBytes: bytes.length }),
  };
}

const ended = { exitCode: 0, ended: 'exit', droppedBytes: 0, durationMs: 1 } as const;

describe('read_file by lines', () => {
  const read = async (text: string, start_line: number, lines?: number) =>
    (
      await readFileTool().run(
        { path: 'f', start_line, ...(lines === undefined ? {} : { lines }) },
        toolContext(fileOf(text)),
      )
    ).text;

  test('numbers lines across the parts a file is read in, and says where to go on', async () => {
    const text = Array.from({ length: 50 }, (_, index) => `this is line ${index + 1}`).join('\n');
    expect(await read(text, 20, 2)).toBe(
      '20\tthis is line 20\n21\tthis is line 21\n[there is more; go on with start_line 22]',
    );
    expect(await read(text, 50)).toBe('50\tthis is line 50');
    expect(await read('one\r\ntwo\r\n', 1)).toBe('1\tone\n2\ttwo');
    expect(await read('one\n', 5)).toBe('f has only 1 lines.');
  });

  test('cuts long lines, and keeps no more of them than it shows', async () => {
    const text = `short\n${'x'.repeat(100_000)}\nlast\n`;
    const shown = await read(text, 1);
    expect(shown.length).toBeLessThan(1_200);
    expect(shown).toContain('the rest of this long line is left out');
    expect(shown.endsWith('3\tlast')).toBe(true);
  });
});

describe('edit_file', () => {
  const edit = async (text: string, writeFile: Sandbox['writeFile']) =>
    await editFileTool().run(
      { path: 'f', old_string: 'old', new_string: 'new' },
      toolContext({ ...fileOf(text), writeFile }),
    );

  test('writes only over the bytes it has read', async () => {
    const written: unknown[] = [];
    const result = await edit('\uFEFFan old thing', async (_, content, { ifUnchanged }) => {
      written.push(content, Buffer.from(ifUnchanged ?? []).toString());
      return { bytes: 1 };
    });
    expect(result).toEqual({ text: 'Edited f.\n@ line 1\n- old\n+ new', isError: false });
    expect(written).toEqual(['\uFEFFan new thing', '\uFEFFan old thing']);
  });

  test('says that somebody else was faster', async () => {
    const result = await edit('old', async () => {
      throw new AppError('tool.invalid_arguments', 'changed', { details: { errno: 'ESTALE' } });
    });
    expect(result).toMatchObject({ isError: true, text: expect.stringContaining('changed by something else') });
  });

  test('touches nothing that is no text', async () => {
    const missing = async () => await Promise.reject(new Error('written'));
    const binary: Partial<Sandbox> = {
      readBytes: async () => ({ bytes: Buffer.from([0xff, 0xfe, 0x00]), totalBytes: 3 }),
      writeFile: missing,
    };
    const args = { path: 'f', old_string: 'old', new_string: 'new' };
    expect(await editFileTool().run(args, toolContext(binary))).toMatchObject({ isError: true });
    expect(await edit('nothing', missing)).toMatchObject({ isError: true });
  });

  test('shows people who approve what would change', () => {
    const { summary } = editFileTool().claim({ path: 'a.txt', old_string: 'x = 1', new_string: 'x = 2\u001b[2K' });
    expect(summary).toBe('Edit a.txt\n- x = 1\n+ x = 2');
    const long = writeFileTool().claim({ path: 'a', content: 'y'.repeat(100_000) }).summary;
    expect(long).toContain('96000 characters not shown here');
  });
});

describe('move_file and delete_file', () => {
  const move = { source: 'a', destination: 'b/c' };

  test('claim every path they touch', () => {
    expect(moveFileTool().claim(move)).toMatchObject({
      action: 'file.write',
      resource: 'b/c',
      also: [
        { action: 'file.read', resource: 'a' },
        { action: 'file.delete', resource: 'a' },
      ],
    });
    expect(moveFileTool().claim({ ...move, overwrite: true }).also).toContainEqual({
      action: 'file.delete',
      resource: 'b/c',
    });
    expect(deleteFileTool().claim({ path: 'a' })).toMatchObject({ action: 'file.delete', resource: 'a', risk: 'high' });
  });

  const guarded = testAgent({
    grants: [
      { allow: ['file.read', 'file.write', 'file.delete'], on: '/workspace/**', except: ['/workspace/**/.env'] },
      { ask: 'file.*', on: '/workspace/**/.env' },
    ],
  });
  const holding = (...names: string[]): Partial<Sandbox> => ({
    exec: async () => ({ ...ended, output: names.map((name) => `${name}\n`).join('') }),
    moveFile: async () => undefined,
    deleteFile: async () => undefined,
  });
  const moved = async (sandbox: Partial<Sandbox>) =>
    await moveFileTool().run({ source: 'dir', destination: 'new' }, toolContext(sandbox, { agent: guarded }));

  test('take no protected file along with its folder', async () => {
    expect(await moved(holding('src', 'src/a.ts'))).toMatchObject({ isError: false });
    await expect(moved(holding('src', 'src/.env'))).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
      message: expect.stringContaining('dir/src/.env'),
    });
    const gone = deleteFileTool().run(
      { path: 'dir', recursive: true },
      toolContext(holding('deep/er/.env'), { agent: guarded }),
    );
    await expect(gone).rejects.toMatchObject({ message: expect.stringContaining('deep/er/.env') });
  });

  test('look into no folder when no grant tells its content apart, nor into a plain file', async () => {
    const plain = testAgent({ grants: [{ allow: 'file.*', on: '/workspace/**' }] });
    const sandbox: Partial<Sandbox> = { moveFile: async () => undefined };
    expect(await moveFileTool().run(move, toolContext(sandbox, { agent: plain }))).toMatchObject({ isError: false });
    const file: Partial<Sandbox> = {
      ...sandbox,
      exec: async () => await Promise.reject(new AppError('tool.invalid_arguments', 'a is not a directory.')),
    };
    expect(await moveFileTool().run(move, toolContext(file, { agent: guarded }))).toMatchObject({ isError: false });
  });

  test('refuse a folder that cannot be looked into', async () => {
    const closed = { ...holding('a'), exec: async () => ({ ...ended, exitCode: 1, output: 'a\n' }) };
    await expect(moved(closed)).rejects.toMatchObject({ message: expect.stringContaining('cannot be looked at') });
  });

  test('refuse a folder with too much in it to look at', async () => {
    const many = holding('file\n'.repeat(500_000));
    await expect(moved(many)).rejects.toMatchObject({ message: expect.stringContaining('too many') });
  });
});

describe('search_files', () => {
  const search = async (matches: readonly SearchMatch[], grants: readonly unknown[]) =>
    (
      await searchFilesTool().run(
        { pattern: 'x' },
        toolContext({ searchFiles: async () => ({ matches, isTruncated: false }) }, { agent: testAgent({ grants }) }),
      )
    ).text;
  const matches = [
    { path: 'a.ts', line: 1, text: 'before', isContext: true },
    { path: 'a.ts', line: 2, text: 'x = 1' },
    { path: 'app/.env', line: 1, text: 'KEY=x' },
  ];

  test('shows matches and the lines around them', async () => {
    expect(await search(matches, [{ allow: 'file.*' }])).toBe('a.ts-1- before\na.ts:2: x = 1\napp/.env:1: KEY=x');
  });

  test('shows nothing of files that have a rule of their own', async () => {
    const excepted = [{ allow: 'file.*', on: '/workspace/**', except: ['/workspace/**/.env'] }];
    const shown = await search(matches, excepted);
    expect(shown).not.toContain('KEY');
    expect(shown).toContain('1 files left out');
    expect(await search(matches, [{ allow: 'file.*' }, { deny: 'file.search', on: 'app/**' }])).not.toContain('KEY');
    // Whoever was asked for all of it was asked for this, too.
    expect(await search(matches, [{ ask: 'file.search', on: '/workspace/**' }])).toContain('KEY');
  });
});

describe('glob', () => {
  const find = async (output: string, args: { pattern: string; path?: string } = { pattern: '*.ts' }) => {
    let asked = '';
    const result = await globTool().run(
      args,
      toolContext({
        exec: async ({ command, workingDirectory }) => {
          asked = `${workingDirectory}: ${command}`;
          return { ...ended, output };
        },
      }),
    );
    return { ...result, asked };
  };

  test('lists names one a line, whatever is in them', async () => {
    expect((await find('./b.ts\n./src/a\u0001b.ts\n')).text).toBe('b.ts\n"src/a\\nb.ts"');
    expect((await find('')).text).toBe('No file matches.');
  });

  test('hands a pattern on as one word', async () => {
    const { asked } = await find('', { pattern: "/workspace/it's $(rm -rf .)/*.ts", path: 'src' });
    expect(asked).toMatch(/^src: /);
    expect(asked).toContain(`--glob='it'\\''s $(rm -rf .)/*.ts' `);
  });

  test('says what is wrong with a pattern, and that there is more', async () => {
    await expect(find("rg: error parsing glob '[': unclosed")).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
    });
    const many = Array.from({ length: 400 }, (_, index) => `./f${index}\n`).join('');
    expect((await find(many)).text).toContain('[more than 300 files; narrow the pattern or path]');
  });
});
