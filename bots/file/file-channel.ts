import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { inspect } from 'node:util';
import { z } from 'zod';
import type { Channel, ChannelHealth, CommandSpec, Ingest, RawEvent } from '#bots/channel.ts';
import { describeBytes, safeFileName } from '#core/files/file-name.ts';
import type { InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { sha256 } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { fitBody, tokenBytesMax } from '../hosted/fit-body.ts';
import { errorCode, filesName, inName, outName, prepareFolder } from './check-folder.ts';
import { readCursor, whileHoldingFile, writeCursor } from './cursor-store.ts';
import { fileAccount, fileLineSchema, normaliseFile } from './file-raw.ts';
import { digestOf, type OutLine, OutLog } from './out-log.ts';
import { type LineSearch, lineBytesMax, readNextLines, type TailLine } from './tail-lines.ts';

/** How often the file is looked at: programs wait for it, people do not. */
const pollMs = 200;
/** How often a folder that cannot be trusted is looked at again. */
const recheckMs = 2_000;

const capabilities: ChannelCapabilities = {
  textMax: 100_000,
  partsMax: 1,
  canEdit: true,
  canDelete: true,
  // Previews are not kept: a log holds what was said, not how it was typed.
  nativeStream: 'draft',
  editIntervalMs: 1_000,
  sendIntervalMs: 0,
  buttonTokenBytesMax: tokenBytesMax,
  threads: 'thread',
  modal: false,
  ephemeral: 'none',
  reactions: false,
  typingIntervalMs: 0,
  uploadBytesMax: 20 * 1024 * 1024,
  downloadBytesMax: 20 * 1024 * 1024,
  buttonsPerRowMax: 10,
  commands: 'text',
  tables: 'native',
  progress: 'edited-message',
  // The log is read before it is written: a message stands there once.
  idempotentSend: 'nonce',
};

const placeSchema = z.object({ room: z.string(), thread: z.string().optional(), key: z.string() });

export interface FileChannelDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  /** Absolute; must belong to the user of this process and be writable by nobody else. */
  readonly folder: string;
}

/** A folder as a chat platform: lines of JSON in, lines of JSON out. */
export class FileChannel implements Channel {
  readonly channel = 'file';
  readonly account = fileAccount;
  readonly #deps: FileChannelDeps;
  readonly #out: OutLog;
  readonly #search: LineSearch = { of: '', to: 0 };
  #health: ChannelHealth = { state: 'disconnected', detail: 'not running' };
  #commands = '';

  constructor(deps: FileChannelDeps) {
    this.#deps = deps;
    this.#out = new OutLog(deps.folder);
  }

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { folder, log, clock } = this.#deps;
    while (!signal.aborted) {
      let waitMs = pollMs;
      const problem = await prepareFolder(folder);
      if (problem !== undefined) {
        if (this.#health.detail !== problem) log.error({ folder, problem }, 'file channel refuses its folder');
        this.#health = { state: 'halted', detail: problem };
        waitMs = recheckMs;
      } else {
        this.#health = { state: 'connected', detail: `reads ${path.join(folder, inName)}` };
        try {
          if (await this.#take(ingest)) waitMs = 0;
        } catch (err) {
          log.warn({ err }, 'lines could not be taken in');
        }
      }
      if (waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined);
    }
    this.#health = { state: 'disconnected', detail: 'not running' };
  }

  /** Takes in the next lines. @returns whether there were any. */
  async #take(ingest: Ingest): Promise<boolean> {
    const { db, folder, clock } = this.#deps;
    const step = await readNextLines(path.join(folder, inName), await readCursor(db, this.account), this.#search);
    if (step === undefined) return false;
    const at = clock.now().toISOString();
    const events: RawEvent[] = [];
    for (const line of step.lines) {
      const read = readLine(line, `${step.cursor.generation}-${line.offset}`, at);
      if (read === undefined) continue;
      if ('problem' in read) {
        await this.#sayOnce({
          type: 'error',
          id: `error-${step.cursor.generation}-${line.offset}`,
          at,
          file: inName,
          offset: line.offset,
          problem: read.problem,
        });
      } else events.push(read);
    }
    if (events.length > 0) await ingest(events);
    await writeCursor(db, this.account, step.cursor);
    return true;
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return normaliseFile(raw);
  }

  capabilities(_conversation: Conversation): ChannelCapabilities {
    return capabilities;
  }

  async send(conversation: Conversation, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    await this.#say('message', conversation, outboxId, body);
    return { ids: [outboxId] };
  }

  async edit(conversation: Conversation, ref: MessageRef, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    const id = ref.ids[0] ?? outboxId;
    await this.#say('edit', conversation, id, body);
    return { ids: [id] };
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await this.#whileHolding(async () => {
      for (const id of ref.ids) {
        if ((await this.#out.find(id)) === 'deleted') continue;
        await this.#out.append({ type: 'delete', id, at: this.#now(), ...placeOf(conversation) });
      }
    });
  }

  /** A log keeps no previews. */
  async draft(): Promise<void> {}

  async typing(): Promise<void> {}

  async acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    const place = readPlace(token);
    if (place === undefined || notice === undefined) return;
    await this.#sayOnce({
      type: 'ack',
      id: `ack-${place.key}`,
      at: this.#now(),
      room: place.room,
      ...(place.thread === undefined ? {} : { thread: place.thread }),
      answers: place.key,
      text: notice.text.slice(0, 2_000),
      isAlert: notice.isAlert,
    });
  }

  async download(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const gone = (cause?: unknown) =>
      new AppError('file.gone', 'There is no such file in the folder "files".', {
        mend: 'Put it there before the line that names it.',
        cause,
      });
    try {
      const root = await realpath(path.join(this.#deps.folder, filesName));
      const target = await realpath(path.resolve(root, file.fetchKey));
      if (!target.startsWith(root + path.sep)) throw gone();
      const facts = await stat(target);
      if (!facts.isFile()) throw gone();
      if (facts.size > capabilities.downloadBytesMax) {
        throw new AppError('file.too_large', `The file has ${describeBytes(facts.size)}.`, {
          mend: `At most ${describeBytes(capabilities.downloadBytesMax)} are taken.`,
        });
      }
      return createReadStream(target, { signal, end: capabilities.downloadBytesMax });
    } catch (err) {
      throw isAppError(err) ? err : gone(err);
    }
  }

  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    const names = commands.map(({ name }) => name).join(' ');
    const changed = names !== this.#commands;
    this.#commands = names;
    return { changed };
  }

  health(): ChannelHealth {
    return this.#health;
  }

  classify(error: unknown): SendFailure {
    const reason = (error instanceof Error ? error.message : inspect(error, { depth: 0 })) || 'no reason was given';
    if (isAppError(error, 'channel.rejected')) {
      return { kind: error.details['kind'] === 'gone' ? 'gone' : 'bad_format', reason };
    }
    // A full disk or a folder that was taken away may be mended; the message waits.
    return { kind: 'retry', afterMs: 1_000, reason: errorCode(error) === 'unknown' ? reason : errorCode(error) };
  }

  async #say(type: 'message' | 'edit', conversation: Conversation, id: string, wanted: OutboundBody): Promise<void> {
    const body = fitBody(wanted, capabilities.textMax);
    const problem = await prepareFolder(this.#deps.folder);
    if (problem !== undefined) throw new AppError('channel.unavailable', problem);
    await this.#whileHolding(async () => {
      const parts = await this.#toParts(id, body.parts);
      const line: OutLine = {
        type,
        id,
        at: this.#now(),
        ...placeOf(conversation),
        text: parts.flatMap((part) => (typeof part['markdown'] === 'string' ? [part['markdown']] : [])).join('\n\n'),
        parts,
        ...(body.replyTo === undefined ? {} : { replyTo: body.replyTo }),
        ...(body.priority === undefined ? {} : { priority: body.priority }),
      };
      const last = await this.#out.find(id);
      if (last === 'deleted') {
        throw new AppError('channel.rejected', 'The message to change was taken back.', { details: { kind: 'gone' } });
      }
      if (last === 'unknown') await this.#out.append(line);
      // Said already: by an earlier try whose end nobody saw, or by an edit that changes nothing.
      else if (last.digest !== digestOf(line)) await this.#out.append({ ...line, type: 'edit' });
    });
  }

  async #sayOnce(line: OutLine): Promise<void> {
    await this.#whileHolding(async () => {
      if ((await this.#out.find(line.id)) === 'unknown') await this.#out.append(line);
    });
  }

  /** Files lie beside the log under the message's id, so that saying it again writes the same ones. */
  async #toParts(id: string, parts: readonly OutboundPart[]): Promise<Record<string, unknown>[]> {
    const written: Record<string, unknown>[] = [];
    for (const [index, part] of parts.entries()) {
      if (part.type !== 'file') {
        written.push({ ...part });
        continue;
      }
      const bytes = Buffer.from(part.dataBase64, 'base64');
      const name = `${safeFileName(id)}-${index}-${safeFileName(part.name)}`;
      const stored = await this.#out.putFile(name, bytes);
      written.push({ type: 'file', name: part.name, mime: part.mime, bytes: bytes.byteLength, path: stored });
    }
    return written;
  }

  async #whileHolding(work: () => Promise<void>): Promise<void> {
    await whileHoldingFile(this.#deps.db, path.join(this.#deps.folder, outName), work);
  }

  #now(): string {
    return this.#deps.clock.now().toISOString();
  }
}

function placeOf({ room, thread }: Conversation): { readonly room: string; readonly thread?: string } {
  return { room, ...(thread === undefined ? {} : { thread }) };
}

function readPlace(token: string): z.infer<typeof placeSchema> | undefined {
  try {
    return placeSchema.safeParse(JSON.parse(token)).data;
  } catch {
    return undefined;
  }
}

/** A line as an event, or what is wrong with it; undefined for an empty one. */
function readLine({ bytes }: TailLine, place: string, at: string): RawEvent | { readonly problem: string } | undefined {
  if (bytes === undefined) return { problem: `The line is longer than ${lineBytesMax} bytes.` };
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim();
    if (text === '') return undefined;
    value = JSON.parse(text);
  } catch (err) {
    return {
      problem: err instanceof SyntaxError ? `The line is not JSON: ${err.message}` : 'The line is not valid UTF-8.',
    };
  }
  const parsed = fileLineSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = issue?.path.join('.') || 'the line';
    return { problem: `${name}: ${issue?.message ?? 'not valid'}` };
  }
  const line = parsed.data;
  const key = line.id ?? `${place}-${sha256(bytes.toString('base64')).slice(0, 12)}`;
  return { dedupKey: line.id === undefined ? `line:${key}` : `id:${key}`, raw: { line, key, at } };
}
