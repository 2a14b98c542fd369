import type { CommandSpec } from '#bots/channel.ts';
import { describeBytes } from '#core/files/file-name.ts';
import { loadFile, ownFiles } from '#core/files/load-file.ts';
import { recentBytes, type StoredFile, saveFile } from '#core/files/save-file.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { isPaired } from '#core/people/identify.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { hostedConversation } from '../hosted/hosted-channel.ts';
import { hostedAccount } from '../hosted/hosted-event.ts';
import type { FeedNote, HostedFeed } from '../hosted/hosted-feed.ts';
import { findMessage, listThreads, readChanges, readHistory } from '../hosted/hosted-store.ts';
import { healMarkdown } from '../markdown/heal-markdown.ts';
import { type DocumentNode, renderNodes } from '../markdown/render-nodes.ts';
import { type WebChannel, webFileBytesMax } from './web-channel.ts';
import { webRawSchema } from './web-raw.ts';
import { toWire, type WireMessage } from './web-wire.ts';

interface Visitor {
  readonly room: string;
  readonly name: string;
  readonly isOperator: boolean;
}

interface Place {
  readonly room: string;
  readonly thread: string;
}

interface ThreadLine {
  readonly thread: string;
  readonly title: string;
  readonly at: string;
}

/** What the gateway's web chat needs of the channel: say, press, upload, read, follow. */
export interface WebDesk {
  keyOf(place: Place): string;
  commands(): readonly CommandSpec[];
  isKnown(visitor: Visitor): Promise<boolean>;
  submit(visitor: Visitor, request: unknown, at: Date): Promise<void>;
  threads(room: string): Promise<readonly ThreadLine[]>;
  history(
    place: Place,
    options: { readonly rowsMax: number; readonly beforeId?: number | undefined },
  ): Promise<{ readonly messages: readonly WireMessage[]; readonly change: number }>;
  changes(place: Place, since: number, rowsMax: number): Promise<readonly WireMessage[]>;
  subscribe(place: Place, listener: (note: FeedNote) => void): () => void;
  preview(markdown: string): readonly DocumentNode[];
  readonly uploadBytesMax: number;
  upload(visitor: Visitor, file: { readonly name: string; readonly bytes: Buffer }): Promise<StoredFile>;
  file(
    place: Place,
    messageId: string,
    index: number,
  ): Promise<{ readonly name: string; readonly mime: string; readonly bytes: Buffer } | undefined>;
}

/** Conversations shown in the list; older ones are found by their address. */
const threadsShownMax = 100;
/** Conversations a visitor who is nobody's person yet may begin: one to pair in, and a few for mistakes. */
const strangerThreadsMax = 5;
/** Characters a stranger may send at once: a pairing code and a greeting. */
const strangerCharsMax = 2_000;
/** Bytes one browser may upload in a day. */
const dayBytesMax = 500 * 1024 * 1024;
/** An upload stays as long as the conversation shows it. */
const uploadDays = 90;

/** Puts the channel, its table, its files and the feed together for the server, which sees them as its `WebBackend`. */
export function openWebDesk(deps: {
  readonly db: Db;
  readonly channel: WebChannel;
  readonly feed: HostedFeed;
}): WebDesk {
  const { db, channel, feed } = deps;
  const isKnown = async (visitor: Visitor): Promise<boolean> =>
    visitor.isOperator || (await isPaired(db, { channel: 'web', account: hostedAccount, externalId: visitor.room }));
  return {
    keyOf,
    commands: () => channel.commands,
    isKnown,
    async submit(visitor, request, at) {
      const { room, name: user, isOperator } = visitor;
      const wanted = Object(request) as {
        readonly files?: unknown;
        readonly text?: unknown;
        readonly thread?: unknown;
      };
      const ids = Array.isArray(wanted.files) ? wanted.files.map(String) : [];
      const files = ids.length === 0 ? [] : await ownFiles(db, ownerOf(visitor), ids);
      if (files.length !== ids.length) {
        throw new AppError('request.invalid', 'An attached file is not there any more.', { mend: 'Attach it again.' });
      }
      const raw = webRawSchema.safeParse({ ...wanted, room, user, isOperator, files, at: at.toISOString() }).data;
      if (raw === undefined || (raw.kind === 'message' && raw.text.trim() === '' && files.length === 0)) {
        throw new AppError('request.invalid', 'This cannot be said.', { mend: 'Load the page anew.' });
      }
      if (raw.kind === 'message' && !(await isKnown(visitor))) await limitStranger(db, raw);
      await channel.submit(raw);
    },
    threads: async (room) =>
      (await listThreads(db, `web:${hostedAccount}:${room}:`, threadsShownMax)).map(
        ({ threadKey: key, title, at }) => ({
          thread: key.slice(key.lastIndexOf(':') + 1),
          title: title.replace(/\s+/g, ' ').trim() || 'Files',
          at: at.toISOString(),
        }),
      ),
    async history(place, options) {
      const { messages, change } = await readHistory(db, keyOf(place), options);
      return { messages: messages.map(toWire), change };
    },
    changes: async (place, since, rowsMax) => (await readChanges(db, keyOf(place), since, rowsMax)).map(toWire),
    subscribe: (place, listener) => feed.subscribe(keyOf(place), listener),
    preview: (markdown) => renderNodes(healMarkdown(markdown)),
    uploadBytesMax: webFileBytesMax,
    async upload(visitor, { name, bytes }) {
      if (bytes.byteLength > webFileBytesMax) {
        throw new AppError('file.too_large', `The file has ${describeBytes(bytes.byteLength)}.`, {
          mend: `At most ${describeBytes(webFileBytesMax)} can be attached.`,
        });
      }
      const owner = ownerOf(visitor);
      if ((await recentBytes(db, owner)) + bytes.byteLength > dayBytesMax) {
        throw new AppError('request.too_many', `More than ${describeBytes(dayBytesMax)} were uploaded today.`, {
          mend: 'Go on tomorrow, or put large files where the agent can reach them.',
        });
      }
      return await saveFile(db, { name, bytes, owner, keptDays: uploadDays });
    },
    async file(place, messageId, index) {
      const part = (await findMessage(db, keyOf(place), messageId))?.body.parts[index];
      if (part?.type !== 'file') return undefined;
      if (part.blobId !== undefined) return await loadFile(db, part.blobId);
      return { name: part.name, mime: part.mime, bytes: Buffer.from(part.dataBase64, 'base64') };
    },
  };
}

async function limitStranger(
  db: Db,
  raw: { readonly room: string; readonly thread: string; readonly text: string },
): Promise<void> {
  if (raw.text.length > strangerCharsMax) {
    throw new AppError('request.invalid', 'Before pairing only short messages are taken.', {
      mend: 'Enter your pairing code first.',
    });
  }
  const threads = await listThreads(db, `web:${hostedAccount}:${raw.room}:`, strangerThreadsMax + 1);
  if (threads.length >= strangerThreadsMax && !threads.some(({ threadKey: key }) => key === keyOf(raw))) {
    throw new AppError('request.too_many', 'Before pairing only a few conversations can be begun.', {
      mend: 'Enter your pairing code in one of them.',
    });
  }
}

function ownerOf(visitor: Visitor): string {
  return `web:${visitor.room}`;
}

function keyOf(place: Place): string {
  return threadKey(hostedConversation('web', place));
}
