import type { ConsoleNote } from '../console-backend.ts';

/** Who sits at a browser; decided by cookies, never by what the page says. */
export interface WebVisitor {
  readonly room: string;
  readonly name: string;
  readonly isOperator: boolean;
}

/** One conversation of a browser. */
interface WebPlace {
  readonly room: string;
  readonly thread: string;
}

/** A message as pages get it: text is a tree of elements, never HTML. */
interface WebMessage {
  readonly change: number;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  readonly isDeleted: boolean;
  readonly [more: string]: unknown;
}

interface WebThread {
  readonly thread: string;
  readonly title: string;
  readonly at: string;
}

/** A file that was uploaded and not yet said to anybody. */
interface WebUpload {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: number;
}

/** The web chat as the server needs it; the composition passes the web channel's desk. */
export interface WebBackend {
  /** The thread key of a place, as sessions and turns carry it. */
  keyOf(place: WebPlace): string;
  commands(): readonly { readonly name: string; readonly description: string }[];
  /** Whether a visitor is a person we know. */
  isKnown(visitor: WebVisitor): Promise<boolean>;
  /**
   * Stores what a page did. Resolves after commit.
   * @throws AppError `request.invalid` for a request that makes no sense or names files of others, `request.too_many`
   * for more conversations than a visitor may have, `channel.unavailable`.
   */
  submit(visitor: WebVisitor, request: unknown, at: Date): Promise<void>;
  /** Newest first. */
  threads(room: string): Promise<readonly WebThread[]>;
  history(
    place: WebPlace,
    options: { readonly rowsMax: number; readonly beforeId?: number | undefined },
  ): Promise<{ readonly messages: readonly WebMessage[]; readonly change: number }>;
  changes(place: WebPlace, since: number, rowsMax: number): Promise<readonly WebMessage[]>;
  subscribe(place: WebPlace, listener: (note: ConsoleNote) => void): () => void;
  /** A text that is still being written, as a page shows it. */
  preview(markdown: string): unknown;
  readonly uploadBytesMax: number;
  /** @throws AppError `file.too_large` for one file, `request.too_many` above a day's allowance. */
  upload(visitor: WebVisitor, file: { readonly name: string; readonly bytes: Buffer }): Promise<WebUpload>;
  /** A file of a message; undefined when there is none or it is not kept any more. */
  file(
    place: WebPlace,
    messageId: string,
    index: number,
  ): Promise<{ readonly name: string; readonly mime: string; readonly bytes: Buffer } | undefined>;
}
