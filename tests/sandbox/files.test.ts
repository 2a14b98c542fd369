import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;
const { signal } = new AbortController();
const read = (path: string, offset = 0, bytesMax = 65_536) => sandbox.readFile(path, { offset, bytesMax, signal });
const write = (path: string, content: string, append = false) => sandbox.writeFile(path, content, { append, signal });
const list = (path: string, recursive = false, entriesMax = 500) =>
  sandbox.listFiles(path, { recursive, entriesMax, signal });
const search = (pattern: string, rest: { path?: string; glob?: string; matchesMax?: number } = {}) =>
  sandbox.searchFiles(pattern, { matchesMax: 100, signal, ...rest });
const refused = { code: 'tool.invalid_arguments' };

beforeAll(async () => {
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());

describe('files', () => {
  test('what was written is read, appended to and replaced', async () => {
    expect(await write('a/b/note.txt', 'zwölf 漢 🚂\n')).toEqual({ bytes: 16 });
    expect(await read('/workspace/a/b/note.txt')).toEqual({ text: 'zwölf 漢 🚂\n', totalBytes: 16, nextOffset: 16 });
    await write('a/b/note.txt', 'more', true);
    expect((await read('a/./b/../b/note.txt')).text).toBe('zwölf 漢 🚂\nmore');
    await write('a/b/note.txt', '');
    expect(await read('a/b/note.txt')).toEqual({ text: '', totalBytes: 0, nextOffset: 0 });
  });

  test('a file is read in parts that never break a character', async () => {
    await write('long.txt', 'é漢🚂'.repeat(1000));
    let text = '';
    let offset = 0;
    for (let part = await read('long.txt', 0, 1000); part.text !== ''; part = await read('long.txt', offset, 1000)) {
      text += part.text;
      offset = part.nextOffset;
    }
    expect(text).toBe('é漢🚂'.repeat(1000));
  });

  test('a file that is no UTF-8, or full of NUL, is read to its end without leaving anything out', async () => {
    await sandbox.writeFile('latin', Buffer.from('Grüße an Jürgen, '.repeat(500), 'latin1'), { append: false, signal });
    await sandbox.writeFile('nul', Buffer.from('a\0b\0'.repeat(2000)), { append: false, signal });
    for (const [file, expected] of [
      ['latin', 'Gr\uFFFD\uFFFDe an J\uFFFDrgen, '.repeat(500)],
      ['nul', 'ab'.repeat(2000)],
    ] as const) {
      let text = '';
      let offset = 0;
      for (;;) {
        const part = await read(file, offset, 101);
        if (part.nextOffset === offset) break;
        text += part.text;
        offset = part.nextOffset;
      }
      expect(text).toBe(expected);
    }
  });

  test('bytes of any kind and an attachment of the largest size come back as they were', async () => {
    const bytes = randomBytes(20 * 1024 * 1024);
    expect(await sandbox.writeFile('inbox/film.bin', bytes, { append: false, signal })).toEqual({
      bytes: bytes.length,
    });
    const whole = await sandbox.readBytes('inbox/film.bin', { bytesMax: bytes.length + 1, signal });
    expect(whole.totalBytes).toBe(bytes.length);
    expect(whole.bytes.equals(bytes)).toBe(true);
    const head = await sandbox.readBytes('inbox/film.bin', { bytesMax: 5, signal });
    expect([head.bytes.length, head.totalBytes]).toEqual([5, bytes.length]);
    // Shorter than before: nothing of the old content is left behind it.
    await sandbox.writeFile('inbox/film.bin', bytes.subarray(0, 9 * 1024 * 1024), { append: false, signal });
    expect((await sandbox.readBytes('inbox/film.bin', { bytesMax: 1, signal })).totalBytes).toBe(9 * 1024 * 1024);
    await run(sandbox, 'rm inbox/film.bin; ln -s /etc/passwd inbox/link; : > inbox/empty');
    await expect(sandbox.readBytes('inbox/link', { bytesMax: 10, signal })).rejects.toMatchObject(refused);
    await expect(
      sandbox.writeFile('inbox/link', bytes.subarray(0, 9), { append: false, signal }),
    ).rejects.toMatchObject(refused);
    expect(await sandbox.readBytes('inbox/empty', { bytesMax: 10, signal })).toEqual({
      bytes: Buffer.alloc(0),
      totalBytes: 0,
    });
  });

  test('large files go through in one call, too large ones are refused with a mend', async () => {
    const large = 'x'.repeat(4_000_000);
    await write('large.txt', large);
    expect((await read('large.txt', 0, 4_000_000)).text).toBe(large);
    await expect(write('huge.txt', 'x'.repeat(17_000_000))).rejects.toMatchObject({ code: 'message.too_large' });
    expect((await run(sandbox, 'echo still here')).output).toBe('still here\n');
  });

  test('what is missing, a directory, a pipe or a forbidden file is refused by name', async () => {
    await run(sandbox, 'mkdir -p folder; mkfifo pipe; touch secret; chmod 000 secret');
    for (const path of ['missing.txt', 'folder', 'pipe', 'secret', 'missing/../nowhere', 'x'.repeat(5000)]) {
      await expect(read(path)).rejects.toMatchObject(refused);
    }
    await expect(write('folder', 'x')).rejects.toMatchObject(refused);
    await expect(write('large.txt/below', 'x')).rejects.toMatchObject(refused);
  });

  test('names with any character come back as they are', async () => {
    const name = 'odd name\nwith "quotes", ünïcode and \u001b[31mcolour';
    await write(name, 'content');
    const { entries } = await list('.');
    expect(entries).toContainEqual({ path: name, type: 'file', bytes: 7 });
    expect((await read(name)).text).toBe('content');
  });
});

describe('symlinks', () => {
  for (const [what, command] of [
    ['an absolute one', 'ln -sfn /etc link'],
    ['a relative one', 'ln -sfn ../etc link'],
    ['one through another', 'ln -sfn /etc hop; ln -sfn hop link'],
    ['one through /proc', 'ln -sfn /proc/self/root/etc link'],
    ['one through the root of the workspace', 'ln -sfn /workspace/../etc link'],
  ] as const) {
    attack('files', `26: a link out of the workspace, ${what}`, 'followed by no file call', async () => {
      await run(sandbox, command);
      await expect(read('link/hostname')).rejects.toMatchObject(refused);
      await expect(write('link/../../tmp/planted', 'x')).rejects.toMatchObject(refused);
      await expect(write('link/planted', 'x')).rejects.toMatchObject(refused);
      await expect(list('link')).rejects.toMatchObject(refused);
      await expect(search('root', { path: 'link' })).rejects.toMatchObject(refused);
      await expect(run(sandbox, 'pwd', { workingDirectory: 'link' })).rejects.toMatchObject(refused);
    });
  }

  attack('files', 'a dangling link written through', 'no path of the workspace leads out of it', async () => {
    await run(sandbox, 'ln -sfn /tmp/new-file dangling');
    await expect(write('dangling', 'x')).rejects.toMatchObject(refused);
    expect((await run(sandbox, 'ls /tmp/new-file')).exitCode).toBe(2);
  });

  test('one that stays inside works', async () => {
    await write('real/file.txt', 'inside');
    await run(sandbox, 'ln -sfn /workspace/real inner');
    expect((await read('inner/file.txt')).text).toBe('inside');
    await write('inner/file.txt', 'changed');
    expect((await read('real/file.txt')).text).toBe('changed');
  });

  attack(
    'files',
    '26: a folder exchanged for a link all the time, under writes',
    'each part of a path is opened without following links',
    async () => {
      // The writes make d0 anew whenever it is away, so each step may find something in its way.
      const swap = `import os, shutil, time
end, swaps = time.monotonic() + 1.5, 0
while time.monotonic() < end or swaps <= 20:
  try:
    os.rename('d0', 'd1'); os.symlink('/tmp', 'd0'); swaps += 1; os.unlink('d0')
  except OSError: pass
  shutil.rmtree('d1', ignore_errors=True)
print(swaps > 20)`;
      const swapping = run(sandbox, 'python3 -', { stdin: swap });
      let isOver = false;
      void swapping.finally(() => {
        isOver = true;
      });
      while (!isOver) await write('d0/escaped', 'x').catch(() => undefined);
      expect((await swapping).output).toBe('True\n');
      expect((await run(sandbox, 'ls /tmp/escaped')).exitCode).toBe(2);
    },
  );

  attack('files', 'links in listings and searches', 'not followed', async () => {
    await run(sandbox, 'mkdir -p tree; ln -sfn /etc tree/etc; ln -sfn .. tree/up');
    expect((await list('tree', true)).entries.map((entry) => [entry.path, entry.type])).toEqual([
      ['tree/etc', 'symlink'],
      ['tree/up', 'symlink'],
    ]);
    expect((await search('root:x', { path: 'tree' })).matches).toEqual([]);
  });
});

describe('listing and search', () => {
  test('a listing goes down on request, upper levels first, but not into .git and node_modules', async () => {
    await run(
      sandbox,
      'mkdir -p p/src/deep p/.git p/node_modules/m; touch p/one p/src/two p/src/deep/three p/.git/x p/node_modules/m/y',
    );
    expect((await list('p')).entries.map((entry) => entry.path)).toEqual([
      'p/.git',
      'p/node_modules',
      'p/one',
      'p/src',
    ]);
    const { entries } = await list('p', true);
    expect(entries.map((entry) => entry.path)).toEqual([
      'p/.git',
      'p/node_modules',
      'p/one',
      'p/src',
      'p/src/deep',
      'p/src/deep/three',
      'p/src/two',
    ]);
  });

  test('a listing stops at its cap and says so', async () => {
    await run(sandbox, 'mkdir -p many && cd many && touch $(seq 3000)');
    const listed = await list('many', true, 100);
    expect(listed.entries).toHaveLength(100);
    expect(listed.isTruncated).toBe(true);
    expect((await list('many', false, 3000)).isTruncated).toBe(false);
  });

  test('a search names path, line and text, and honours glob and path', async () => {
    await write('s/a.ts', 'one\nneedle here\n');
    await write('s/b.md', 'needle there\n');
    expect((await search('needle', { path: 's', glob: '*.ts' })).matches).toEqual([
      { path: 's/a.ts', line: 2, text: 'needle here' },
    ]);
    expect((await search('needle', { path: 's/b.md' })).matches).toEqual([
      { path: 's/b.md', line: 1, text: 'needle there' },
    ]);
    expect((await search('NoSuchThing')).matches).toEqual([]);
  });

  test('a search stops at its cap, also when everything matches', async () => {
    await run(sandbox, 'seq 2000000 > numbers.txt');
    const found = await search('\\d', { path: 'numbers.txt', matchesMax: 50 });
    expect(found.matches).toHaveLength(50);
    expect(found.isTruncated).toBe(true);
  });

  attack(
    'files',
    'a search pattern that is an option',
    'arguments are no words of a shell and no options',
    async () => {
      await expect(search('(')).rejects.toMatchObject(refused);
      expect((await search('--files')).matches).toEqual([]);
      expect((await search('-e', { glob: '--pre=sh' })).matches).toEqual([]);
    },
  );
});

describe('changing files', () => {
  const fill = (path: string, content: string, ifUnchanged?: string) =>
    sandbox.writeFile(path, content, {
      append: false,
      signal,
      ...(ifUnchanged === undefined ? {} : { ifUnchanged: Buffer.from(ifUnchanged) }),
    });
  const move = (from: string, to: string, overwrite = false) => sandbox.moveFile(from, to, { overwrite, signal });
  const remove = (path: string, recursive = false) => sandbox.deleteFile(path, { recursive, signal });
  const names = async (path: string) => (await list(path)).entries.map((entry) => entry.path);

  test('a write happens in one step: whoever reads meanwhile sees the old or the new whole', async () => {
    const size = 300_000;
    await fill('step/file', 'a'.repeat(size));
    const reading = run(
      sandbox,
      `python3 -c 'import os
bad = 0
for _ in range(400):
  text = open("step/file").read()
  if len(text) != ${size} or len(set(text)) != 1: bad += 1
print(bad)'`,
      { timeoutMs: 55_000 },
    );
    let isOver = false;
    void reading.finally(() => {
      isOver = true;
    });
    for (let i = 0; !isOver; i++) await fill('step/file', (i % 2 === 0 ? 'b' : 'a').repeat(size));
    expect((await reading).output).toBe('0\n');
    expect(await names('step')).toEqual(['step/file']);
  });

  test('a write keeps the mode, follows a link inside, and is refused where the file may not be written', async () => {
    await run(sandbox, 'mkdir -p keep; echo x > keep/run; chmod 751 keep/run; ln -s run keep/link; touch keep/fixed');
    await fill('keep/link', 'new');
    const { output } = await run(
      sandbox,
      'cat keep/run; stat -c " %a" keep/run; readlink keep/link; chmod 444 keep/fixed',
    );
    expect(output).toBe('new 751\nrun\n');
    await expect(fill('keep/fixed', 'x')).rejects.toMatchObject(refused);
    await run(sandbox, 'chmod 555 keep');
    await expect(fill('keep/run', 'x')).rejects.toMatchObject(refused);
    await expect(fill('keep/fresh', 'x')).rejects.toMatchObject(refused);
    await run(sandbox, 'chmod 755 keep');
    expect(await names('keep')).toEqual(['keep/fixed', 'keep/link', 'keep/run']);
  });

  test('a write that depends on the old content notices every change of it', async () => {
    await fill('depends', 'one');
    await fill('depends', 'two', 'one');
    for (const expected of ['one', 'tw', 'twoo', '']) {
      await expect(fill('depends', 'three', expected)).rejects.toMatchObject({
        ...refused,
        details: { errno: 'ESTALE' },
      });
    }
    await expect(fill('absent', 'x', '')).rejects.toMatchObject({ details: { errno: 'ESTALE' } });
    expect((await read('depends')).text).toBe('two');
    await fill('empty-now', '');
    await fill('empty-now', 'filled', '');
    expect((await read('empty-now')).text).toBe('filled');
    const large = Buffer.alloc(9 << 20, 'z');
    await expect(
      sandbox.writeFile('depends', large, { append: false, ifUnchanged: Buffer.from('no'), signal }),
    ).rejects.toMatchObject({ details: { errno: 'ESTALE' } });
    await sandbox.writeFile('depends', large, { append: false, ifUnchanged: Buffer.from('two'), signal });
    expect((await read('depends', 0, 3)).totalBytes).toBe(large.length);
    expect((await names('.')).filter((name) => name.startsWith('.switchyard'))).toEqual([]);
  });

  test('of many writers that depend on the same content one wins', async () => {
    await fill('contested', 'start');
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => fill('contested', `by ${i}`, 'start')),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });

  test('a move takes files, directories and links themselves, and makes the way', async () => {
    await run(sandbox, 'mkdir -p from/dir; echo 1 > from/file; ln -s /etc/passwd from/link; echo 2 > taken');
    await move('from/file', 'to/deep/er');
    await move('from/link', 'to/link');
    await move('from/dir', 'to/dir');
    expect(await names('to')).toEqual(['to/deep', 'to/dir', 'to/link']);
    expect((await run(sandbox, 'readlink to/link; cat to/deep/er')).output).toBe('/etc/passwd\n1\n');
    await expect(move('to/deep/er', 'taken')).rejects.toMatchObject(refused);
    expect((await read('taken')).text).toBe('2\n');
    await move('to/deep/er', 'taken', true);
    expect((await read('taken')).text).toBe('1\n');
    for (const [from, to] of [
      ['missing', 'x'],
      ['to', 'to/inside'],
      ['.', 'x'],
      ['taken', '.'],
      ['taken', '/tmp/out'],
      ['/etc/hostname', 'in'],
      ['taken', '../out'],
      ['taken', 'to/dir'],
    ] as const) {
      await expect(move(from, to), `${from} to ${to}`).rejects.toMatchObject(refused);
    }
    expect((await run(sandbox, 'ls x in to/inside 2>/dev/null')).output).toBe('');
  });

  test('a deletion takes what it names and nothing a link leads to', async () => {
    await run(sandbox, 'mkdir -p away/full target; touch away/full/x target/kept; ln -s ../target away/link');
    await expect(remove('away/full')).rejects.toMatchObject(refused);
    await remove('away/link');
    await run(sandbox, 'ln -s ../target away/link; ln -s /tmp away/tmp; chmod 555 away/full');
    await expect(remove('away', true)).rejects.toMatchObject(refused);
    await run(sandbox, 'chmod 755 away/full');
    await remove('away', true);
    expect(await names('target')).toEqual(['target/kept']);
    await remove('target/kept');
    await remove('target');
    for (const path of ['.', '/workspace', '/', '/etc', '../tmp', 'missing', 'target/kept']) {
      await expect(remove(path), path).rejects.toMatchObject(refused);
      await expect(remove(path, true), path).rejects.toMatchObject(refused);
    }
  });

  test('a deletion goes down any depth and takes any name', async () => {
    const deep = 'import os\nfor i in range(2000):\n  os.mkdir("d" * 100)\n  os.chdir("d" * 100)';
    await run(
      sandbox,
      `mkdir -p deep && (cd deep && python3 -c '${deep}'); touch -- -rf "new
line"`,
    );
    await remove('-rf');
    await remove('new\nline', true);
    await remove('deep', true);
    expect((await run(sandbox, 'ls -d deep')).exitCode).toBe(2);
  });

  attack(
    'files',
    '26: folders exchanged for links all the time, under moves and deletions',
    'each part of a path is opened without following links',
    async () => {
      await run(sandbox, 'mkdir -p s0; echo mine > s0/victim; echo theirs > /tmp/victim');
      // The moves make s0 anew whenever it is away, so each step may find a folder in its way.
      const swap = `import os, shutil, time
end, swaps = time.monotonic() + 1.5, 0
while time.monotonic() < end or swaps <= 20:
  try: os.rename('s0', 's1'); os.symlink('/tmp', 's0'); swaps += 1; os.unlink('s0'); os.rename('s1', 's0')
  except OSError:
    if os.path.isdir('s1'):
      shutil.rmtree('s0', ignore_errors=True)
      try: os.rename('s1', 's0')
      except OSError: pass
    os.makedirs('s0', exist_ok=True)
  try: open('s0/victim', 'a').close()
  except OSError: pass
print(swaps > 20)`;
      const swapping = run(sandbox, 'python3 -', { stdin: swap });
      let isOver = false;
      void swapping.finally(() => {
        isOver = true;
      });
      while (!isOver) {
        await remove('s0/victim').catch(() => undefined);
        await move('s0/victim', 'stolen', true).catch(() => undefined);
        await move('stolen', 's0/planted', true).catch(() => undefined);
        await fill('s0/planted', 'x').catch(() => undefined);
        await remove('s0/victim', true).catch(() => undefined);
      }
      expect((await swapping).output).toBe('True\n');
      expect((await run(sandbox, 'cat /tmp/victim; ls /tmp')).output).toBe('theirs\nvictim\n');
    },
  );
});

describe('files that are none', () => {
  attack(
    'files',
    '40: pipes, devices, sockets and endless files',
    'only plain files are opened, and never waited for',
    async () => {
      await run(
        sandbox,
        `mkfifo odd-pipe; ln -s /dev/zero odd-zero; ln -s /proc/self/mem odd-mem; truncate -s 1G odd-sparse
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("odd-socket")'`,
      );
      const startedAt = performance.now();
      for (const path of ['odd-pipe', 'odd-zero', 'odd-mem', 'odd-socket']) {
        await expect(read(path), path).rejects.toMatchObject(refused);
        await expect(write(path, 'x'), path).rejects.toMatchObject(refused);
        await expect(write(path, 'x', true), path).rejects.toMatchObject(refused);
      }
      const part = await sandbox.readBytes('odd-sparse', { bytesMax: 10_000_000, signal });
      expect([part.bytes.length, part.totalBytes]).toEqual([10_000_000, 2 ** 30]);
      expect((await read('odd-sparse', 2 ** 40, 100)).text).toBe('');
      expect(performance.now() - startedAt).toBeLessThan(20_000);
      await remove('odd-sparse');
    },
  );

  attack('files', 'a file that changes its length while it is read', 'it ends where it ends', async () => {
    const changing = run(
      sandbox,
      `python3 -c 'import os, time
end = time.time() + 1
while time.time() < end:
  f = open("changing", "wb"); f.write(b"x" * 9000000); f.truncate(10); f.close()'`,
    );
    let isOver = false;
    void changing.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const { bytes } = await sandbox
        .readBytes('changing', { bytesMax: 9_000_000, signal })
        .catch(() => ({ bytes: Buffer.alloc(0) }));
      expect(bytes.length).toBeLessThanOrEqual(9_000_000);
    }
  });

  const remove = (path: string) => sandbox.deleteFile(path, { recursive: false, signal });
});

test('a full disk is named as one', async () => {
  await expect(
    (async () => {
      await run(sandbox, 'truncate -s 1G full.bin');
      await write('full.bin', 'x', true);
    })(),
  ).rejects.toMatchObject({ code: 'sandbox.disk_full' });
});

test('a full workspace leaves the old content of what was to be written', async () => {
  const small = await stage.open(stage.worker(), stage.newSession(), { disk_mb: 64 });
  const full = { code: 'sandbox.disk_full', mend: expect.stringContaining('Delete') };
  await small.writeFile('old', 'as it was', { append: false, signal });
  const { output } = await run(
    small,
    'head -c 200000000 /dev/zero > filler; rm -f x; echo; df --output=avail . | tail -1',
  );
  expect(output).toContain('No space left');
  await expect(small.writeFile('old', 'x'.repeat(3_000_000), { append: false, signal })).rejects.toMatchObject(full);
  await expect(small.writeFile('old', 'x'.repeat(3_000_000), { append: true, signal })).rejects.toMatchObject(full);
  await expect(small.writeFile('large', Buffer.alloc(20 << 20), { append: false, signal })).rejects.toMatchObject(full);
  expect((await small.readFile('old', { bytesMax: 100, signal })).text).toBe('as it was');
  const { entries } = await small.listFiles('.', { recursive: false, entriesMax: 20, signal });
  expect(entries.map((entry) => entry.path).filter((path) => path.includes('switchyard'))).toEqual([]);
  await small.deleteFile('filler', { recursive: false, signal });
  expect(await small.writeFile('old', 'new', { append: false, signal })).toEqual({ bytes: 3 });
});
