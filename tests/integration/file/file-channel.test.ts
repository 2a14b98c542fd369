import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RawEvent } from '#bots/channel.ts';
import { FileChannel } from '#bots/file/file-channel.ts';
import { fileConversation } from '#bots/file/file-raw.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const lineSchema = z.looseObject({ type: z.string(), id: z.string() });
const conversation = fileConversation({ room: 'main' });
const markdown = (text: string) => ({ parts: [{ type: 'markdown' as const, markdown: text }] });

let database: TestDatabase;
let folder: string;
let received: RawEvent[];
let stop: AbortController;
let running: Promise<void>;
let channel: FileChannel;
/** How often the channel has paused between two looks at its folder. */
let looked = 0;
const clock: Clock = {
  now: () => new Date(),
  sleep: async (ms, signal) => {
    looked += 1;
    await systemClock.sleep(Math.min(ms, 200), signal);
  },
};

const inFile = () => path.join(folder, 'in.jsonl');
const outFile = () => path.join(folder, 'out.jsonl');
const write = (text: string) => appendFileSync(inFile(), text, { mode: 0o600 });
const say = (...texts: string[]) =>
  write(texts.map((text) => `${JSON.stringify({ type: 'message', text })}\n`).join(''));
const texts = () =>
  received
    .flatMap(({ raw }) => channel.normalise(raw))
    .flatMap((event) => (event.type === 'message' ? [event.text] : []));
const out = () =>
  existsSync(outFile())
    ? readFileSync(outFile(), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => lineSchema.parse(JSON.parse(line)))
    : [];

function start(): void {
  stop = new AbortController();
  channel = new FileChannel({ db: database.db, log: pino({ level: 'silent' }), clock, folder });
  running = channel.run(async (events) => {
    // The inbox keeps a key once.
    for (const event of events) {
      if (!received.some(({ dedupKey }) => dedupKey === event.dedupKey)) received.push(event);
    }
  }, stop.signal);
}

async function end(): Promise<void> {
  stop.abort();
  await running;
}

beforeEach(async () => {
  database = await openTestDatabase();
  folder = mkdtempSync(path.join(tmpdir(), 'sw-file-'));
  received = [];
  start();
});
afterEach(async () => {
  await end();
  await database[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

describe('lines in', () => {
  it('a last line waits for its newline', async () => {
    say('one');
    write('{"type":"message","te');
    await expect.poll(texts).toEqual(['one']);
    write('xt":"two"}');
    write('\n');
    await expect.poll(texts).toEqual(['one', 'two']);
    expect(out()).toEqual([]);
  });

  it('a bad line is told with its place and reason, once, and the others go on', async () => {
    const bad = [
      '{nonsense',
      '[]',
      '{"type":"dance"}',
      '{"type":"message","text":7}',
      '{"type":"message","text":"x","room":"a/b"}',
      '{"type":"message","text":"x","extra":1}',
    ];
    say('before');
    const first = readFileSync(inFile()).length;
    write(`${bad.join('\n')}\n\n   \n`);
    appendFileSync(inFile(), Buffer.from([0x22, 0xff, 0xfe, 0x22, 0x0a]));
    say('after');
    await expect.poll(texts).toEqual(['before', 'after']);
    await expect.poll(() => out().length).toBe(bad.length + 1);
    expect(out()[0]).toMatchObject({ type: 'error', file: 'in.jsonl', offset: first });
    expect(out().map((line) => line['problem'])).toEqual([
      expect.stringContaining('not JSON'),
      expect.any(String),
      expect.stringContaining('type'),
      expect.stringContaining('text'),
      expect.stringContaining('room'),
      expect.stringContaining('extra'),
      'The line is not valid UTF-8.',
    ]);
  });

  it('a line of two megabytes is refused without being held, and the next one is read', async () => {
    write(`${JSON.stringify({ type: 'message', text: 'x'.repeat(5 * 1024 * 1024) })}\n`);
    say('next');
    await expect.poll(texts).toEqual(['next']);
    expect(out()[0]?.['problem']).toContain('longer than');
  });

  it('what was read is not read again after a restart, and what was written meanwhile is', async () => {
    say('one');
    await expect.poll(texts).toEqual(['one']);
    await end();
    say('two');
    received = [];
    start();
    await expect.poll(texts).toEqual(['two']);
  });

  it('a crash between the inbox and the cursor gives the same key again', async () => {
    say('once');
    await expect.poll(texts).toEqual(['once']);
    await end();
    await database.query('update file_cursor set byte_offset = 0, head_bytes = 0');
    const before = received.map(({ dedupKey }) => dedupKey);
    received = [];
    start();
    await expect.poll(() => received.map(({ dedupKey }) => dedupKey)).toEqual(before);
  });

  it('a line with an id of its own counts once, wherever it stands', async () => {
    write('{"type":"message","text":"pay","id":"order-7"}\n{"type":"message","text":"pay","id":"order-7"}\n');
    say('done');
    await expect.poll(texts).toEqual(['pay', 'done']);
  });

  it('a file that is cut off and written anew is read from its beginning', async () => {
    say('old one', 'old two');
    await expect.poll(texts).toEqual(['old one', 'old two']);
    truncateSync(inFile(), 0);
    say('new');
    await expect.poll(texts).toEqual(['old one', 'old two', 'new']);
  });

  it('a file that was rewritten in place, longer than before, is told by its beginning', async () => {
    say('old');
    await expect.poll(texts).toEqual(['old']);
    await end();
    writeFileSync(inFile(), `${JSON.stringify({ type: 'message', text: 'a wholly different line' })}\n`);
    start();
    await expect.poll(texts).toEqual(['old', 'a wholly different line']);
  });

  it('a file that is moved away is read to its end before the new one', async () => {
    say('one');
    await expect.poll(texts).toEqual(['one']);
    await end();
    say('two');
    renameSync(inFile(), `${inFile()}.1`);
    say('three');
    start();
    await expect.poll(texts).toEqual(['one', 'two', 'three']);
    say('four');
    await expect.poll(texts).toEqual(['one', 'two', 'three', 'four']);
  });

  it('thousands of lines arrive in order', async () => {
    const many = Array.from({ length: 3_000 }, (_, index) => `line ${index}`);
    say(...many);
    await expect.poll(texts).toEqual(many);
  });

  it('commands, presses, forms and stops are what they are elsewhere', async () => {
    write('{"type":"message","text":"/run tidy up","room":"ops","thread":"t1","user":"ci"}\n');
    write('{"type":"action","token":"v1.x"}\n{"type":"form","token":"f","values":{"reason":"no"}}\n{"type":"stop"}\n');
    await expect.poll(() => received.length).toBe(4);
    const [command, ...rest] = received.flatMap(({ raw }) => channel.normalise(raw));
    expect(command).toMatchObject({
      type: 'command',
      name: 'run',
      args: 'tidy up',
      conversation: { room: 'ops', thread: 't1', kind: 'dm' },
      actor: { externalId: 'operator:ci', isOperator: true },
    });
    expect(rest.map(({ type }) => type)).toEqual(['action', 'form', 'stop']);
  });
});

describe('a folder that others can write to', () => {
  const refused = async (words: RegExp) => {
    await expect.poll(() => channel.health().detail).toMatch(words);
    expect(channel.health().state).toBe('halted');
    const before = texts();
    say('I am the operator');
    const looks = looked;
    await expect.poll(() => looked).toBeGreaterThan(looks + 1);
    expect(texts()).toEqual(before);
  };

  it('is refused with the command that mends it, and taken once it is mended', async () => {
    chmodSync(folder, 0o777);
    await refused(/can be written by others.*chmod go-w/);
    await expect(channel.send(conversation, markdown('x'), 'o')).rejects.toMatchObject({ code: 'channel.unavailable' });
    chmodSync(folder, 0o700);
    await expect.poll(texts).toEqual(['I am the operator']);
  });

  it('counts also through the file itself', async () => {
    say('fine');
    await expect.poll(texts).toEqual(['fine']);
    chmodSync(inFile(), 0o666);
    await refused(/in\.jsonl can be written by others/);
  });

  it.runIf(process.getuid?.() === 0)('belongs to somebody else', async () => {
    chownSync(folder, 12_345, 12_345);
    await refused(/belongs to user 12345.*chown/);
  });

  it('is a link', async () => {
    await end();
    const real = path.join(folder, 'real');
    mkdirSync(real);
    writeFileSync(path.join(real, 'in.jsonl'), '');
    symlinkSync(path.join(real, 'in.jsonl'), inFile());
    start();
    await expect.poll(() => channel.health().detail).toContain('symbolic link');
  });
});

describe('lines out', () => {
  it('a message is there once however often it is sent, from however many processes', async () => {
    const other = new FileChannel({ db: database.db, log: pino({ level: 'silent' }), clock: systemClock, folder });
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? channel : other).send(conversation, markdown('hi'), 'o1'),
      ),
    );
    expect(out()).toEqual([
      {
        type: 'message',
        id: 'o1',
        at: expect.any(String),
        room: 'main',
        text: 'hi',
        parts: [{ type: 'markdown', markdown: 'hi' }],
      },
    ]);
    await channel.edit(conversation, { ids: ['o1'] }, markdown('changed'), 'o1');
    await other.edit(conversation, { ids: ['o1'] }, markdown('changed'), 'o1');
    await other.delete(conversation, { ids: ['o1'] });
    await channel.delete(conversation, { ids: ['o1'] });
    expect(out().map(({ type }) => type)).toEqual(['message', 'edit', 'delete']);
    const late = await channel.edit(conversation, { ids: ['o1'] }, markdown('late'), 'o1').catch((err: unknown) => err);
    expect(channel.classify(late).kind).toBe('gone');
  });

  it('a line a crash cut off spoils only itself', async () => {
    await channel.send(conversation, markdown('one'), 'o1');
    appendFileSync(outFile(), '{"type":"message","id":"o2","te');
    const fresh = new FileChannel({ db: database.db, log: pino({ level: 'silent' }), clock: systemClock, folder });
    await fresh.send(conversation, markdown('two'), 'o2');
    const lines = readFileSync(outFile(), 'utf8').split('\n');
    expect(lines.map((line) => line.slice(0, 31))).toEqual([
      '{"type":"message","id":"o1","at',
      '{"type":"message","id":"o2","te',
      '{"type":"message","id":"o2","at',
      '',
    ]);
  });

  it('a log that was moved away begins anew', async () => {
    await channel.send(conversation, markdown('one'), 'o1');
    renameSync(outFile(), `${outFile()}.1`);
    await channel.send(conversation, markdown('two'), 'o2');
    expect(out().map(({ id }) => id)).toEqual(['o2']);
  });

  it('files lie beside the log, readable by us alone', async () => {
    const dataBase64 = Buffer.from('a,b').toString('base64');
    const part = { type: 'file' as const, name: '../../evil.csv', mime: 'text/csv', dataBase64 };
    await channel.send(conversation, { parts: [part] }, 'o1');
    const [line] = out();
    expect(line?.['parts']).toEqual([
      { type: 'file', name: '../../evil.csv', mime: 'text/csv', bytes: 3, path: 'sent/o1-0-evil.csv' },
    ]);
    expect(readFileSync(path.join(folder, 'sent/o1-0-evil.csv'), 'utf8')).toBe('a,b');
  });
});

describe('files in', () => {
  const read = async (fetchKey: string) => {
    const parts: Uint8Array[] = [];
    for await (const part of await channel.download({ name: 'x', fetchKey }, new AbortController().signal)) {
      parts.push(part);
    }
    return Buffer.concat(parts).toString();
  };

  it('are read from the folder "files" and from nowhere else', async () => {
    await expect.poll(() => existsSync(path.join(folder, 'files'))).toBe(true);
    writeFileSync(path.join(folder, 'files/a.txt'), 'content');
    writeFileSync(path.join(folder, 'secret'), 'secret');
    symlinkSync('/etc/passwd', path.join(folder, 'files/link'));
    symlinkSync(folder, path.join(folder, 'files/up'));
    expect(await read('a.txt')).toBe('content');
    for (const key of ['../secret', '/etc/passwd', 'link', 'up/secret', '.', '', 'none', 'a.txt/..']) {
      await expect(read(key)).rejects.toMatchObject({ code: 'file.gone' });
    }
  });

  it('are refused above the limit', async () => {
    await expect.poll(() => existsSync(path.join(folder, 'files'))).toBe(true);
    writeFileSync(path.join(folder, 'files/big'), '');
    truncateSync(path.join(folder, 'files/big'), 21 * 1024 * 1024);
    await expect(read('big')).rejects.toMatchObject({ code: 'file.too_large' });
  });
});
