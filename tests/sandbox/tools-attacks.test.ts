import { afterAll, beforeAll, expect } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { pdfOf, pngOf } from '#tests/support/documents.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { testAgent } from '#tests/support/tool-context.ts';
import { toolUser } from '#tests/support/use-tool.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let database: TestDatabase;
let sandbox: Sandbox;
let use: ReturnType<typeof toolUser>;
const { signal } = new AbortController();

/** May do all with files but for those of one name, and run nothing. */
const guarded = testAgent({
  grants: [
    { allow: ['file.*'], on: '/workspace/**', except: ['/workspace/**/.env'] },
    { deny: ['file.*'], on: '/workspace/**/.env' },
  ],
});

beforeAll(async () => {
  database = await openTestDatabase(2);
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
  use = toolUser({ db: database.db, sandbox: () => sandbox, agent: guarded });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const put = async (path: string, content: string | Uint8Array) =>
  await sandbox.writeFile(path, content, { append: false, signal });
const shell = async (command: string): Promise<string> => (await run(sandbox, command)).output;
const refused = { code: 'tool.invalid_arguments' };
const before = async () => await shell('rm -rf ./* ./.[!.]*');

attack(
  'tools',
  'a protected file taken along with its folder',
  'what lies below is decided before the move',
  async () => {
    await before();
    await shell('mkdir -p a/.git a/node_modules/x "a/new\nline"; touch a/ok; echo KEY > "a/new\nline/.env"');
    await expect(use('move_file', { source: 'a', destination: 'b' })).rejects.toMatchObject(refused);
    await shell('mv "a/new\nline/.env" a/node_modules/x/.env');
    await expect(use('move_file', { source: './a/../a', destination: 'b' })).rejects.toMatchObject(refused);
    await shell('mv a/node_modules/x/.env a/.git/.env');
    await expect(use('delete_file', { path: '/workspace/a', recursive: true })).rejects.toMatchObject(refused);
    expect(await shell('cat a/.git/.env')).toBe('KEY\n');
  },
);

attack(
  'tools',
  'a protected file in a folder nobody can read',
  'a folder that cannot be looked at is not moved',
  async () => {
    await before();
    await shell('mkdir -p a/closed; echo KEY > a/closed/.env; chmod 0 a/closed');
    await expect(use('move_file', { source: 'a', destination: 'b' })).rejects.toMatchObject(refused);
    await shell('chmod 755 a/closed');
  },
);

attack('tools', 'so many names that the protected one is cut off', 'a list that is not whole refuses', async () => {
  await before();
  await shell('mkdir a; cd a; seq -f "%0200.0f" 12000 | xargs touch; echo KEY > zzz; mkdir last; mv zzz last/.env');
  await expect(use('move_file', { source: 'a', destination: 'b' })).rejects.toMatchObject({
    message: expect.stringContaining('too many'),
  });
});

attack('tools', 'the text of a protected file through a search', 'matches of such files are left out', async () => {
  await before();
  await shell('mkdir -p app; echo "TOKEN=abc" > app/.env; echo "see TOKEN" > app/readme');
  const { text } = await use('search_files', { pattern: 'TOKEN', context: 2 });
  expect(text).toContain('see TOKEN');
  expect(text).not.toContain('abc');
  const alone = await use('search_files', { pattern: 'TOKEN', glob: '.env' });
  expect(alone.text).not.toContain('abc');
});

attack(
  'tools',
  'code in a file that a picture is opened with',
  'Python runs without the workspace on its path',
  async () => {
    await before();
    const trap = "open('/workspace/trapped', 'w').write('x')\n";
    for (const module of ['PIL', 'base64', 'io', 'sitecustomize', 'usercustomize']) await put(`${module}.py`, trap);
    await put('PIL/__init__.py', trap);
    await put('large.png', pngOf(2000, 1000));
    expect(await use('view_image', { path: 'large.png' })).toMatchObject({ isError: false });
    expect(await shell('ls trapped 2>&1')).toContain('No such file');
  },
);

attack('tools', 'commands in names of files', 'names are single quoted words', async () => {
  await before();
  const name = `a'; touch planted; $(touch planted) \`touch planted\` ".pdf`;
  await put(name, pdfOf(['Hello']));
  expect((await use('read_pdf', { path: name })).text).toContain('Hello');
  expect(await use('read_pdf', { path: name, as_images: true })).toMatchObject({ isError: false });
  await put(`${name}.png`, pngOf(2000, 10));
  expect(await use('view_image', { path: `${name}.png` })).toMatchObject({ isError: false });
  await use('glob', { pattern: `'; touch planted; '` });
  await use('python', { file: name, args: [`'; touch planted; '`] });
  await put('-rf', 'x');
  await expect(use('move_file', { source: '-rf', destination: '--help' })).resolves.toMatchObject({ isError: false });
  expect(await shell('ls planted 2>&1')).toContain('No such file');
});

attack('tools', 'a picture that unpacks to gigabytes', 'pixels are bounded, and so is the container', async () => {
  await before();
  // 30,000 by 30,000 pixels of one colour in about 3 MB.
  await run(
    sandbox,
    `python3 - <<'END'
import struct, zlib
row = b'\\0' + bytes(30000 // 8)
packer = zlib.compressobj(9)
body = b''.join(packer.compress(row) for _ in range(30000)) + packer.flush()
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
head = struct.pack('>IIBBBBB', 30000, 30000, 1, 0, 0, 0, 0)
open('bomb.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', head) + chunk(b'IDAT', body) + chunk(b'IEND', b''))
END`,
  );
  const heapBefore = process.memoryUsage().rss;
  expect(await use('view_image', { path: 'bomb.png' })).toMatchObject({ isError: true });
  expect(process.memoryUsage().rss - heapBefore).toBeLessThan(100 << 20);
  expect(await shell('echo alive')).toBe('alive\n');
});

attack(
  'tools',
  'a picture that is a pipe, a device or a link',
  'only plain files of the workspace are opened',
  async () => {
    await before();
    await shell('mkfifo pipe.png; ln -s /dev/zero zero.png; ln -s /proc/self/environ env.png; ln -s pipe.png hop.png');
    for (const path of ['pipe.png', 'zero.png', 'env.png', 'hop.png']) {
      await expect(use('view_image', { path })).rejects.toMatchObject(refused);
      await expect(use('read_pdf', { path })).rejects.toMatchObject(refused);
    }
  },
);

attack(
  'tools',
  'a PDF that claims a million pages, or one as large as a house',
  'pages, pixels and time are bounded',
  async () => {
    await before();
    const many = pdfOf(['Only one']).toString('latin1').replace('/Count 1', '/Count 999999');
    await put('many.pdf', many);
    const read = await use('read_pdf', { path: 'many.pdf' }).catch((err: Error) => ({ text: err.message }));
    expect(read.text.length).toBeLessThan(5_000);
    await put('huge.pdf', pdfOf(['House']).toString('latin1').replaceAll('[0 0 612 792]', '[0 0 9e8 9e8]'));
    const drawn = await use('read_pdf', { path: 'huge.pdf', as_images: true }).catch((err: Error) => ({
      text: err.message,
    }));
    expect(drawn.text.length).toBeLessThan(500);
    expect(await shell('echo alive')).toBe('alive\n');
  },
);

attack('tools', 'terminal escapes in the output of a job', 'output becomes plain text', async () => {
  const command = `printf '\\033]0;title\\007\\033[2Jshown\\x9b31m\\rover\\n'`;
  const text = await eventually(async () => {
    const said = (await use('exec', { command, background: true })).text;
    expect(said).toContain('shown');
    return said;
  });
  expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
});

attack('tools', 'a job that floods its output', 'what is kept and what is read at once is bounded', async () => {
  const started = await use('exec', { command: 'yes flood', background: true });
  const [, job = ''] = /^Started (j\d+)\./.exec(started.text) ?? [];
  const rssBefore = process.memoryUsage().rss;
  for (let read = 0; read < 5; read += 1) {
    const { text } = await use('job_output', { job, offset: 0, wait_seconds: 0 });
    expect(text.length).toBeLessThan(31_000);
  }
  await use('job_stop', { job });
  expect(process.memoryUsage().rss - rssBefore).toBeLessThan(100 << 20);
});

attack(
  'tools',
  'a change of a file between its reading and an edit',
  'the write holds only over the bytes read',
  async () => {
    await before();
    await put('f.txt', 'one\ntwo\n');
    const racing: Sandbox = {
      ...sandbox,
      readBytes: async (path, options) => {
        const read = await sandbox.readBytes(path, options);
        await shell('rm f.txt; ln -s .env f.txt; echo KEY > .env');
        return read;
      },
    };
    const edit = { path: 'f.txt', old_string: 'one', new_string: 'mine' };
    const done = await use('edit_file', edit, { sandbox: async () => racing }).catch(() => ({ isError: true }));
    expect(done.isError).toBe(true);
    expect(await shell('cat .env')).toBe('KEY\n');
  },
);
