import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadFile } from '#core/files/load-file.ts';
import { readPicture } from '#core/files/picture.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { pdfOf, pngOf } from '#tests/support/documents.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { testAgent } from '#tests/support/tool-context.ts';
import { toolUser } from '#tests/support/use-tool.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import type { ToolResult } from '#workers/tools/tool.ts';

let stage: SandboxStage;
let database: TestDatabase;
let sandbox: Sandbox;
const { signal } = new AbortController();
const shown: string[] = [];
let user: ReturnType<typeof toolUser>;

beforeAll(async () => {
  database = await openTestDatabase(2);
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
  user = toolUser({ db: database.db, sandbox: () => sandbox, progress: (line) => void shown.push(line) });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const use: ReturnType<typeof toolUser> = async (name, args, rest) => await user(name, args, rest);
const text = async (name: string, args: unknown): Promise<string> => (await use(name, args)).text;
const put = async (path: string, content: string | Uint8Array) =>
  await sandbox.writeFile(path, content, { append: false, signal });

describe('commands', () => {
  test('a long command shows where it is, and for how long', async () => {
    shown.length = 0;
    await use('exec', { command: 'for i in 1 2 3; do echo step $i; sleep 0.7; done' });
    expect(shown.length).toBeGreaterThan(0);
    expect(shown.at(-1)).toMatch(/^\d s: step \d\n$/);
  });

  test('a background command goes on behind the call: it is read, fed and stopped', async () => {
    // A call looks for a second or two; a machine that is slower than that shows it with the next one.
    const { started, job } = await eventually(async () => {
      const command = 'echo ready; while read line; do echo "got $line"; done; echo over; sleep 600';
      const said = await text('exec', { command, background: true });
      expect(said).toContain('ready');
      return { started: said, job: /^Started (j\d+)\./.exec(said)?.[1] ?? '' };
    });
    expect(started).toContain(job);
    await eventually(async () => expect(await text('job_input', { job, text: 'one\n' })).toContain('got one'));
    const seen = await text('job_output', { job, offset: 0, wait_seconds: 0 });
    expect(seen).toContain('ready\ngot one');
    const [, offset = ''] = /next offset (\d+)/.exec(seen) ?? [];
    await use('job_input', { job, text: 'two\n', end: true });
    await eventually(async () => {
      const rest = await text('job_output', { job, offset: Number(offset), wait_seconds: 5 });
      expect(rest).toMatch(/got two[\s\S]*over/);
    });
    expect(await text('job_list', {})).toContain(`${job} runs since`);
    expect(await text('job_stop', { job })).toContain('was stopped after');
    await eventually(async () => {
      expect((await run(sandbox, 'pgrep -fx "sleep 600" | wc -l')).output.trim()).toBe('0');
    });
    await expect(use('job_output', { job: 'j999' })).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  });

  test('python gets code, arguments and files', async () => {
    const code = 'import sys, math\nprint(math.factorial(20), sys.argv[1:])';
    expect(await text('python', { code, args: ["it's", '$(id)'] })).toContain(
      "2432902008176640000 [\"it's\", '$(id)']",
    );
    await put('up.py', 'import sys\nprint(sys.stdin.read().upper())\nsys.exit(3)');
    expect(await use('python', { file: 'up.py', stdin: 'abc' })).toMatchObject({
      isError: true,
      text: expect.stringMatching(/^Exit code 3 .*\nABC/s),
    });
    expect(await text('python', { code: 'while True: pass', timeout_seconds: 1 })).toContain('Stopped at the timeout');
  });
});

describe('files', () => {
  test('a file is edited in place, its mode kept, and a race is noticed', async () => {
    await put('src/app.sh', '#!/bin/sh\necho old\n');
    await run(sandbox, 'chmod 755 src/app.sh');
    expect(await text('edit_file', { path: 'src/app.sh', old_string: 'echo old', new_string: 'echo new' })).toContain(
      '- echo old\n+ echo new',
    );
    expect((await run(sandbox, './src/app.sh; stat -c %a src/app.sh')).output).toBe('new\n755\n');
    // The file changes between the edit's reading and writing.
    const racing: Sandbox = {
      ...sandbox,
      readBytes: async (...args) => {
        const read = await sandbox.readBytes(...args);
        await run(sandbox, 'echo "# theirs" >> src/app.sh');
        return read;
      },
    };
    const edit = { path: 'src/app.sh', old_string: 'new', new_string: 'mine' };
    expect(await use('edit_file', edit, { sandbox: async () => racing })).toMatchObject({ isError: true });
    expect((await run(sandbox, 'tail -n 1 src/app.sh')).output).toBe('# theirs\n');
  });

  test('globs know folders and alternatives, newest first, and stay out of what is skipped and what lies outside', async () => {
    await run(
      sandbox,
      'mkdir -p g/deep g/node_modules g/.git; touch -d "2 hours ago" g/a.ts; touch -d "1 hour ago" g/deep/b.tsx; ' +
        'touch g/c.js g/node_modules/x.ts g/.git/y.ts g/.hidden.ts; echo "c.js" > g/.gitignore; ln -sfn /etc g/out',
    );
    expect(await text('glob', { pattern: '**/*.{ts,tsx}', path: 'g' })).toBe('.hidden.ts\ndeep/b.tsx\na.ts');
    expect(await text('glob', { pattern: '**', path: 'g' })).not.toMatch(/node_modules|\.git\/|passwd/);
    expect(await text('glob', { pattern: '/workspace/g/*.js' })).toBe('g/c.js');
    await expect(use('glob', { pattern: '*', path: 'g/out' })).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
    });
    await expect(use('glob', { pattern: '[' })).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
    expect(await text('glob', { pattern: "'; touch /workspace/planted; '" })).toBe('No file matches.');
    expect((await run(sandbox, 'ls planted')).exitCode).toBe(2);
  });

  test('a search shows lines around a match', async () => {
    await put('s/lines.txt', 'one\ntwo\nthree - 3\nfour\nfive\n');
    expect(await text('search_files', { pattern: 'three', path: 's', context: 1 })).toBe(
      's/lines.txt-2- two\ns/lines.txt:3: three - 3\ns/lines.txt-4- four',
    );
    await run(sandbox, 'mkdir -p s/node_modules; echo needle > s/node_modules/n.js');
    expect(await text('search_files', { pattern: 'needle', path: 's', glob: '**' })).toBe('No match.');
  });

  test('moving and deleting do what they say, and nothing behind a link', async () => {
    await put('m/from.txt', 'content');
    await put('m/there.txt', 'other');
    await expect(use('move_file', { source: 'm/from.txt', destination: 'm/there.txt' })).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
    });
    await use('move_file', { source: 'm/from.txt', destination: 'm/new/to.txt' });
    expect((await sandbox.readFile('m/new/to.txt', { bytesMax: 100, signal })).text).toBe('content');
    await expect(use('delete_file', { path: 'm' })).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
    await run(sandbox, 'mkdir -p keep; touch keep/file; ln -sfn /workspace/keep m/link');
    await use('delete_file', { path: 'm', recursive: true });
    expect((await run(sandbox, 'ls m; ls keep')).output).toMatch(/^file$/m);
    await expect(use('delete_file', { path: '/workspace', recursive: true })).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
    });
    await expect(use('delete_file', { path: '../etc/passwd' })).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
    });
  });

  test('a protected file leaves with no folder, though it is hidden or in .git', async () => {
    await run(sandbox, 'mkdir -p p/.git p/a; touch p/.git/config p/a/x');
    const agent = testAgent({
      grants: [
        { allow: ['file.*'], on: '/workspace/**', except: ['/workspace/**/.git/config'] },
        { deny: ['file.*'], on: '/workspace/**/.git/config' },
      ],
    });
    const move = { source: 'p', destination: 'q' };
    await expect(use('move_file', move, { agent })).rejects.toMatchObject({
      message: expect.stringContaining('p/.git/config'),
    });
    await run(sandbox, 'mkdir p/closed; touch p/closed/x; rm -r p/.git; chmod 0 p/closed');
    await expect(use('move_file', move, { agent })).rejects.toMatchObject({
      message: expect.stringContaining('cannot be looked at'),
    });
    await use('move_file', { source: 'p/a', destination: 'q' }, { agent });
    expect((await run(sandbox, 'ls q')).output).toBe('x\n');
  });

  test('numbered lines of a large file come from where they are asked for', async () => {
    await run(sandbox, 'seq 1000000 > numbers.txt');
    expect(await text('read_file', { path: 'numbers.txt', start_line: 999_999, lines: 5 })).toBe(
      '999999\t999999\n1000000\t1000000',
    );
  });
});

describe('pictures and documents', () => {
  const stored = async (result: ToolResult, index = 0) => {
    const file = await loadFile(database.db, result.images?.[index]?.blobId ?? '');
    return { file, facts: file === undefined ? undefined : readPicture(file.bytes) };
  };

  test('a small picture is shown as it is, once', async () => {
    const png = pngOf(40, 30);
    await put('small.png', png);
    const first = await use('view_image', { path: 'small.png' }, { callKey: '1:same' });
    expect(first.text).toContain('40 by 30 pixels');
    expect((await stored(first)).file?.bytes.equals(png)).toBe(true);
    expect((await use('view_image', { path: 'small.png' }, { callKey: '1:same' })).images).toEqual(first.images);
  });

  test('a large one is scaled down inside the sandbox, photographs upright', async () => {
    await put('large.png', pngOf(3000, 1500));
    const result = await use('view_image', { path: 'large.png' });
    expect(result.text).toContain('3000 by 1500 pixels');
    expect((await stored(result)).facts).toEqual({ mime: 'image/png', width: 1568, height: 784 });
    const photo = `
from PIL import Image
image = Image.effect_noise((2400, 1200), 90).convert('RGB')
exif = image.getexif(); exif[0x0112] = 6
image.save('photo.jpg', exif=exif)
image.resize((300, 200)).save('scan.tiff')
frames = [Image.new('P', (50, 40), shade) for shade in range(3)]
frames[0].save('moving.gif', save_all=True, append_images=frames[1:])`;
    expect(await use('python', { code: photo })).toMatchObject({ isError: false });
    expect((await stored(await use('view_image', { path: 'photo.jpg' }))).facts).toEqual({
      mime: 'image/jpeg',
      width: 784,
      height: 1568,
    });
    // A type no model takes becomes one that they do, and what moves stands still.
    expect((await stored(await use('view_image', { path: 'moving.gif' }))).facts).toMatchObject({
      mime: 'image/png',
      width: 50,
    });
    expect((await stored(await use('view_image', { path: 'scan.tiff' }))).facts).toMatchObject({ width: 300 });
  });

  test('what is no picture, lies about its size or unpacks without end is refused', async () => {
    await put('notes.txt', 'hello');
    expect(await use('view_image', { path: 'notes.txt' })).toMatchObject({ isError: true });
    const bomb = pngOf(8, 8);
    bomb.writeUInt32BE(60_000, 16);
    bomb.writeUInt32BE(60_000, 20);
    await put('bomb.png', bomb);
    const refused = await use('view_image', { path: 'bomb.png' });
    expect(refused).toMatchObject({ isError: true, text: expect.stringContaining('60000 by 60000') });
    expect(refused.images).toBeUndefined();
    await run(sandbox, 'ln -sfn /etc/passwd link.png');
    await expect(use('view_image', { path: 'link.png' })).rejects.toMatchObject({ code: 'tool.invalid_arguments' });
  });

  test('a PDF is read by pages, as text and as pictures', async () => {
    await put("it's a report.pdf", pdfOf(['Chapter One', 'Chapter Two', 'Chapter Three']));
    const whole = await text('read_pdf', { path: "it's a report.pdf" });
    expect(whole).toMatch(/\[page 1 of 3\]\s+Chapter One[\s\S]*\[page 3 of 3\]\s+Chapter Three$/);
    const one = await text('read_pdf', { path: "it's a report.pdf", pages: '2' });
    expect(one).toContain('Chapter Two');
    expect(one).not.toContain('Chapter Three');
    expect(one).toContain('[go on with pages 3-3]');
    const seen = await use('read_pdf', { path: "it's a report.pdf", pages: '2-3', as_images: true });
    expect(seen.text).toContain('Pages 2 to 3 of 3');
    expect(seen.images).toHaveLength(2);
    expect((await stored(seen, 1)).facts).toMatchObject({ mime: 'image/jpeg', height: 1568 });
    expect(await use('read_pdf', { path: "it's a report.pdf", pages: '9' })).toMatchObject({ isError: true });
  });

  test('a PDF that is none, or broken, is an answer', async () => {
    await put('fake.pdf', 'just text');
    expect(await use('read_pdf', { path: 'fake.pdf' })).toMatchObject({ isError: true });
    await put('broken.pdf', Buffer.concat([Buffer.from('%PDF-1.7\n'), deflateSync(Buffer.alloc(1000))]));
    await expect(use('read_pdf', { path: 'broken.pdf' })).rejects.toMatchObject({
      code: 'tool.invalid_arguments',
      message: expect.stringContaining('cannot be read'),
    });
  });
});
