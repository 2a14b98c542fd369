import type { CommandSpec } from '#bots/channel.ts';
import { loadFile } from '#core/files/load-file.ts';
import type { Db } from '#core/kit/database.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import { threadKey } from '#core/sessions/origin.ts';
import type { HostedMessage } from '../hosted/hosted-event.ts';
import type { FeedNote, HostedFeed } from '../hosted/hosted-feed.ts';
import { findMessage, readChanges, readHistory } from '../hosted/hosted-store.ts';
import type { ConsoleChannel } from './console-channel.ts';
import { type ConsoleRaw, consoleConversation, consoleRawSchema } from './console-raw.ts';

/** Where in the console something is said. */
interface ConsolePlace {
  readonly room: string;
  readonly thread?: string | undefined;
}

/** What the gateway's console API needs of the console: say, press, read, follow. */
export interface ConsoleDesk {
  keyOf(place: ConsolePlace): string;
  commands(): readonly CommandSpec[];
  /** The raw event of a client's request; undefined when it is not one. `at` is the gateway's clock. */
  parse(request: unknown, at: Date): ConsoleRaw | undefined;
  /** Resolves when it is stored. @throws AppError `channel.unavailable` while the channel is not running. */
  submit(raw: ConsoleRaw): Promise<void>;
  /** The newest messages, or those before `beforeId`, oldest first, and the change number to follow from. */
  history(
    place: ConsolePlace,
    options: { readonly rowsMax: number; readonly beforeId?: number | undefined },
  ): Promise<{ readonly messages: readonly HostedMessage[]; readonly change: number }>;
  /** What was posted, edited or deleted after a change number. */
  changes(place: ConsolePlace, since: number, rowsMax: number): Promise<readonly HostedMessage[]>;
  /** The bytes of a file of a message; undefined when it is not kept any more. */
  file(part: Extract<OutboundPart, { type: 'file' }>): Promise<Buffer | undefined>;
  message(place: ConsolePlace, messageId: string): Promise<HostedMessage | undefined>;
  /** Follows one conversation until the returned function is called. */
  subscribe(place: ConsolePlace, listener: (note: FeedNote) => void): () => void;
}

/** Puts the channel, its table and its feed together for the server, which sees them as its `ConsoleBackend`. */
export function openConsoleDesk(deps: {
  readonly db: Db;
  readonly channel: ConsoleChannel;
  readonly feed: HostedFeed;
}): ConsoleDesk {
  return {
    keyOf,
    commands: () => deps.channel.commands,
    parse: (request, at) =>
      request === null || typeof request !== 'object'
        ? undefined
        : consoleRawSchema.safeParse({ ...request, at: at.toISOString() }).data,
    submit: (raw) => deps.channel.submit(raw),
    history: (place, options) => readHistory(deps.db, keyOf(place), options),
    changes: (place, since, rowsMax) => readChanges(deps.db, keyOf(place), since, rowsMax),
    file: async (part) =>
      part.blobId === undefined
        ? Buffer.from(part.dataBase64, 'base64')
        : (await loadFile(deps.db, part.blobId))?.bytes,
    message: (place, messageId) => findMessage(deps.db, keyOf(place), messageId),
    subscribe: (place, listener) => deps.feed.subscribe(keyOf(place), listener),
  };
}

function keyOf(place: ConsolePlace): string {
  return threadKey(consoleConversation(place));
}
