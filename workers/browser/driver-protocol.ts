import { z } from 'zod';

/**
 * What the worker and the browser's driver (`sandbox-image/browser`) say to each other: one JSON object a line. The
 * driver runs beside the web pages it shows, so nothing it says is believed: every line is capped and checked here.
 */

/**
 * Raised when what is said changes. The image of browsers carries it as a label, so that an older one is built anew;
 * `sandbox-image/build` reads it from this line.
 */
export const driverVersion = 1;

/** Longest line from the driver, in bytes. */
export const replyBytesMax = 512 * 1024;

/** Longest text of a page in one reply, in characters. */
const replyTextMax = 60_000;

/** Names an element: by the reference of the last reading, by what assistive technology sees, or by a CSS selector. */
export interface ElementTarget {
  readonly ref?: string;
  readonly role?: string;
  readonly name?: string;
  readonly css?: string;
}

/** What the driver is asked to do. */
export type DriverCommand =
  | { readonly action: 'navigate'; readonly url: string; readonly isNewTab: boolean }
  | { readonly action: 'back' }
  | {
      readonly action: 'read';
      readonly isText: boolean;
      readonly offset: number;
      readonly charsMax: number;
      readonly target?: ElementTarget;
    }
  | { readonly action: 'screenshot'; readonly isFullPage: boolean; readonly target?: ElementTarget }
  | { readonly action: 'click'; readonly target: ElementTarget }
  | { readonly action: 'type'; readonly target: ElementTarget; readonly text: string; readonly isSubmit: boolean }
  | { readonly action: 'press'; readonly key: string; readonly target?: ElementTarget }
  | { readonly action: 'select'; readonly target: ElementTarget; readonly values: readonly string[] }
  | { readonly action: 'scroll'; readonly pixels: number; readonly target?: ElementTarget }
  | { readonly action: 'evaluate'; readonly script: string; readonly charsMax: number }
  | { readonly action: 'tabs' }
  | { readonly action: 'switch'; readonly tab: number }
  | { readonly action: 'close'; readonly tab: number }
  | { readonly action: 'wait'; readonly text?: string; readonly waitMs: number }
  | { readonly action: 'download'; readonly target?: ElementTarget }
  | { readonly action: 'upload'; readonly target: ElementTarget; readonly path: string };

/** One line to the driver. */
export type DriverRequest =
  | {
      readonly id: number;
      readonly command: DriverCommand;
      readonly timeoutMs: number;
      /** The command is about a page of this host; the driver refuses when the page has become another's. */
      readonly onHost?: string;
    }
  /** Gives up a command that was sent before. */
  | { readonly cancel: number };

const pageSchema = z.strictObject({
  url: z.string().max(4096),
  title: z.string().max(500),
  /** 1 for the first tab; 0 when none is open. */
  tab: z.int().min(0).max(100),
  tabs: z.int().min(0).max(100),
  /** Of the answer a navigation got. */
  status: z.int().min(100).max(599).optional(),
});

const fileSchema = z.strictObject({
  path: z.string().max(4096),
  name: z.string().max(1000),
});

const common = {
  id: z.int().min(0),
  page: pageSchema,
  /** What happened besides: a dialog, a new tab, a download. */
  notices: z.array(z.string().max(400)).max(20),
};

const doneSchema = z.strictObject({
  ...common,
  ok: z.literal(true),
  text: z.string().max(replyTextMax).optional(),
  /** Characters of the text's source, when more is there than `text` holds. */
  textTotal: z.int().min(0).optional(),
  file: fileSchema.optional(),
  /** Another address than before the command. */
  hasMoved: z.boolean(),
});

const failedSchema = z.strictObject({
  ...common,
  ok: z.literal(false),
  kind: z.enum(['not_found', 'ambiguous', 'timeout', 'refused', 'no_page', 'failed']),
  message: z.string().max(4000),
});

/** One line from the driver. */
export const driverReplySchema = z.union([
  z.strictObject({ ready: z.literal(true) }),
  z.discriminatedUnion('ok', [doneSchema, failedSchema]),
]);

export type PageState = z.infer<typeof pageSchema>;
export type DriverDone = z.infer<typeof doneSchema>;
export type DriverFailed = z.infer<typeof failedSchema>;
export type DriverReply = z.infer<typeof driverReplySchema>;
