import { describeBytes, safeFileName, unusedName } from '#core/files/file-name.ts';
import { fitsModels, isTakenByModels, readPicture } from '#core/files/picture.ts';
import { readText, sniffMime } from '#core/files/sniff-mime.ts';
import { AppError, isAppError, toAppError } from '#core/kit/errors.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';
import type { AttachedFile, ReceivedFile } from '#core/turns/turn-event.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { keepPicture, scaleInside } from '../tools/keep-picture.ts';
import { handToolNames } from '../tools/tool-registry.ts';
import type { TurnDeps, TurnWork } from './turn-deps.ts';
import type { TurnLog } from './turn-log.ts';
import { noticeMessage } from './turn-messages.ts';

/** Where files of people lie, below the workspace. */
const inbox = 'inbox';
/** Most files taken from one message; no platform lets a person attach more at once. */
const filesMax = 20;
/** Largest file taken in, where the channel would fetch more: it passes through this worker's memory. */
const fileBytesMax = 20 * 1024 * 1024;
/** What one file may take to arrive. */
const fetchMs = 60_000;
/** Characters of a text that are shown with the message: with a sandbox the file can be read there. */
const inlineCharsMax = 4_000;
const inlineAloneCharsMax = 16_000;
/** Entries of the inbox that are looked at for names in use. */
const entriesMax = 5_000;

const handTools = new Set(handToolNames);

interface FilePass {
  readonly deps: Pick<TurnDeps, 'db' | 'findSender' | 'sandboxes' | 'log' | 'findAgent'>;
  readonly work: TurnWork;
  readonly agent: Awaited<ReturnType<TurnDeps['findAgent']>>;
  readonly log: TurnLog;
  readonly signal: AbortSignal;
}

/**
 * Fetches the files of messages that no model has read yet, puts them into the session's workspace and records what
 * became of each. A file that cannot be had is told to model and person and stops nothing.
 * @returns what to tell the person; undefined when there was nothing to take in.
 * @throws only the reason of an aborted `signal`.
 */
export async function takeInFiles(pass: FilePass): Promise<NewMessage[] | undefined> {
  const messages = pass.log.messagesToTakeIn();
  if (messages.length === 0) return undefined;
  const place = await openPlace(pass);
  const notices: NewMessage[] = [];
  for (const { sourceTurnId, files } of messages) {
    const received: ReceivedFile[] = [];
    for (const [index, file] of files.slice(0, filesMax).entries()) {
      received.push(await takeIn(pass, place, file, `${sourceTurnId}:${index}`));
    }
    for (const file of files.slice(filesMax)) {
      received.push({ name: safeFileName(file.name), problem: `only ${filesMax} files of one message are taken` });
    }
    pass.log.add({ kind: 'files_received', sourceTurnId, files: received });
    const problems = received.filter((file) => file.problem !== undefined && file.text === undefined);
    if (problems.length > 0) {
      const text = problems.map((file) => `\`${file.name}\`: ${file.problem}.`).join('\n');
      const head = problems.length === 1 ? 'I could not take in a file. ' : 'I could not take in some files.\n';
      notices.push(noticeMessage(pass.work, `files:${sourceTurnId}`, 'warn', head + text));
    }
  }
  return notices;
}

/** Where files go; without one they are only described, and small texts shown. */
interface Place {
  readonly sandbox: Sandbox | undefined;
  /** Why there is none, when the agent would have one. */
  readonly problem: string | undefined;
  readonly taken: Set<string>;
}

async function openPlace({ deps, work, agent, signal }: FilePass): Promise<Place> {
  if (!agent.tools.some((tool) => handTools.has(tool))) {
    return { sandbox: undefined, problem: undefined, taken: new Set() };
  }
  try {
    const spec = { sessionId: work.sessionId, agent: agent.name, limits: agent.sandbox, egress: agent.egress };
    const sandbox = await deps.sandboxes.open(spec, signal);
    return { sandbox, problem: undefined, taken: await namesInUse(sandbox, signal) };
  } catch (err) {
    signal.throwIfAborted();
    deps.log.warn({ err, turnId: work.turnId }, 'no workspace for attached files');
    const reason = toAppError(err);
    const why = reason.isForChat ? reason.message.replace(/\.$/, '') : 'the workspace cannot be used right now';
    return { sandbox: undefined, problem: why, taken: new Set() };
  }
}

async function namesInUse(sandbox: Sandbox, signal: AbortSignal): Promise<Set<string>> {
  try {
    const { entries } = await sandbox.listFiles(inbox, { recursive: false, entriesMax, signal });
    return new Set(entries.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)));
  } catch (err) {
    // Before the first file there is no such folder; if something else is wrong with it, writing will say so.
    if (isAppError(err, 'tool.invalid_arguments')) return new Set();
    throw err;
  }
}

async function takeIn(pass: FilePass, place: Place, file: AttachedFile, key: string): Promise<ReceivedFile> {
  const { deps, work, signal } = pass;
  const name = safeFileName(file.name);
  let bytes: Uint8Array;
  try {
    bytes = await fetchFile(deps.findSender(work.origin.channel, work.origin.account), work, file, signal);
  } catch (err) {
    signal.throwIfAborted();
    // The error may hold an address with a token: only its code is written down.
    const error = toAppError(err);
    deps.log.warn({ code: error.code, turnId: work.turnId }, 'attached file could not be fetched');
    return { name, problem: error.isForChat ? sentence(error) : 'it could not be fetched' };
  }
  const mime = await sniffMime(bytes, file.mime);
  const facts = { name, mime, bytes: bytes.byteLength };
  const stored = await store(pass, place, name, bytes);
  const picture = mime.startsWith('image/') ? await keepShown(pass, place, { name, bytes, key, ...stored }) : undefined;
  if (picture !== undefined) {
    // An agent without hands sees it all the same: that it has no place for it is no problem then.
    const hasNoHands = place.sandbox === undefined && place.problem === undefined;
    return hasNoHands ? { ...facts, picture } : { ...facts, ...stored, picture };
  }
  const text = readText(bytes);
  if (text === undefined) return { ...facts, ...stored };
  const charsMax = stored.path === undefined ? inlineAloneCharsMax : inlineCharsMax;
  if (text.length <= charsMax) return { ...facts, ...stored, text: framed(text) };
  if (stored.path !== undefined) return { ...facts, ...stored };
  const problem = `only its first ${charsMax} characters are shown`;
  return { ...facts, problem, text: framed(text.slice(0, charsMax).toWellFormed()) };
}

/** Stores a picture so that models can be shown it, scaled down in the sandbox where it is too large. */
async function keepShown(
  { deps, work, signal }: FilePass,
  place: Place,
  file: { readonly name: string; readonly bytes: Uint8Array; readonly key: string; readonly path?: string },
): Promise<ReceivedFile['picture']> {
  try {
    const facts = readPicture(file.bytes);
    let shown = facts === undefined ? undefined : { bytes: file.bytes, facts };
    if (shown === undefined || !fitsModels(shown.bytes, shown.facts)) {
      const isInside = place.sandbox !== undefined && file.path !== undefined;
      const scaled = isInside ? await scaleInside(place.sandbox, file.path, signal) : undefined;
      shown = scaled ?? (shown !== undefined && isTakenByModels(shown.bytes, shown.facts) ? shown : undefined);
    }
    if (shown === undefined) return undefined;
    return await keepPicture(deps.db, { turnId: work.turnId, callKey: file.key }, { name: file.name, ...shown });
  } catch (err) {
    signal.throwIfAborted();
    deps.log.warn({ err, turnId: work.turnId }, 'attached picture could not be shown');
    return undefined;
  }
}

async function store(
  { deps, work, signal }: FilePass,
  place: Place,
  name: string,
  bytes: Uint8Array,
): Promise<{ readonly path?: string; readonly problem?: string }> {
  if (place.sandbox === undefined) {
    return { problem: place.problem ?? 'this agent has no workspace to put it into' };
  }
  const free = unusedName(name, place.taken);
  const path = `${inbox}/${free}`;
  try {
    const written = await place.sandbox.writeFile(path, bytes, { append: false, signal });
    if (written.bytes !== bytes.byteLength) return { problem: 'there is no room for it in the workspace' };
    place.taken.add(free);
    return { path };
  } catch (err) {
    signal.throwIfAborted();
    deps.log.warn({ err, turnId: work.turnId }, 'attached file could not be written');
    const error = toAppError(err);
    return { problem: error.isForChat ? sentence(error) : 'it could not be written to the workspace' };
  }
}

async function fetchFile(
  sender: ChannelSender | undefined,
  work: TurnWork,
  file: AttachedFile,
  turnSignal: AbortSignal,
): Promise<Uint8Array> {
  const bytesMax = Math.min(sender?.capabilities(work.origin).downloadBytesMax ?? 0, fileBytesMax);
  if (sender?.download === undefined || bytesMax === 0) {
    throw new AppError('file.unavailable', 'Files cannot be fetched from this channel');
  }
  if ((file.bytes ?? 0) > bytesMax) throw tooLarge(file.bytes ?? 0, bytesMax);
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new AppError('file.unavailable', `It did not arrive within ${fetchMs / 1000} s`)),
    fetchMs,
  );
  const signal = AbortSignal.any([turnSignal, late.signal]);
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => undefined);
  const onAbort = () => ended.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  let iterator: AsyncIterator<Uint8Array> | undefined;
  try {
    const { name, fetchKey, mime, bytes } = file;
    const wanted = {
      name,
      fetchKey,
      ...(mime === undefined ? {} : { mime }),
      ...(bytes === undefined ? {} : { bytes }),
    };
    // Raced, because a channel that does not look at the signal must not hold up the turn.
    iterator = (await Promise.race([sender.download(wanted, signal), ended.promise]))[Symbol.asyncIterator]();
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const next = await Promise.race([iterator.next(), ended.promise]);
      if (next.done === true) return Buffer.concat(chunks);
      length += next.value.byteLength;
      if (length > bytesMax) throw tooLarge(undefined, bytesMax);
      chunks.push(next.value);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    // Lets go of the connection when it ended early; it may take its time, so nobody waits.
    iterator?.return?.().catch(() => undefined);
  }
}

function tooLarge(bytes: number | undefined, bytesMax: number): AppError {
  const size = bytes === undefined ? '' : ` (${describeBytes(bytes)})`;
  return new AppError(
    'file.too_large',
    `It is larger${size} than the ${describeBytes(bytesMax)} that can be fetched here`,
  );
}

/** The end of "`name`: …", without the full stop. */
function sentence(error: AppError): string {
  const text = error.message.replace(/\.$/, '');
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

/** A text cannot end the frame it is shown in. */
function framed(text: string): string {
  return text.replaceAll(/<(?=\/?content)/gi, '<\u200b');
}
