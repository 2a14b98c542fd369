import { z } from 'zod';

/** A button's action: an opaque token (<= 32 bytes) whose meaning is a row in our database, never in the button. */
const buttonSchema = z.object({
  label: z.string(),
  token: z.string().max(60).optional(),
  url: z.string().optional(),
  style: z.enum(['primary', 'danger', 'success']).optional(),
  isDisabled: z.boolean().optional(),
});

/** One block of an outbound message, in neutral form; each channel renders or degrades it. */
export const outboundPartSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('markdown'), markdown: z.string() }),
  z.object({ type: z.literal('code'), language: z.string().optional(), text: z.string() }),
  z.object({ type: z.literal('fields'), fields: z.array(z.tuple([z.string(), z.string()])) }),
  z.object({
    type: z.literal('notice'),
    /** The last three are what broadcasts say they are; each channel gives every level a look of its own. */
    level: z.enum(['info', 'warn', 'error', 'success', 'status', 'question', 'announcement']),
    markdown: z.string(),
  }),
  /** What a longer work is doing, apart from its prose; edited in place. */
  z.object({
    type: z.literal('progress'),
    title: z.string(),
    tasks: z.array(
      z.object({
        id: z.string(),
        title: z.string(),
        state: z.enum(['pending', 'running', 'done', 'failed', 'skipped']),
        detail: z.string().optional(),
      }),
    ),
  }),
  z.object({ type: z.literal('buttons'), rows: z.array(z.array(buttonSchema)) }),
  z.object({
    type: z.literal('file'),
    name: z.string(),
    mime: z.string(),
    /** Empty while `blobId` says where the bytes are; filled in before a channel sees it, unless it `takesBlobs`. */
    dataBase64: z.string(),
    /** A stored file, so that the outbox row need not carry its bytes. */
    blobId: z.string().optional(),
    /** Its size, where `blobId` stands for it. */
    bytes: z.number().int().optional(),
  }),
]);

/** The body of one logical message. */
export const outboundBodySchema = z.object({
  parts: z.array(outboundPartSchema),
  /** Platform message id this answers, if the channel shows replies. */
  replyTo: z.string().optional(),
  isSilent: z.boolean().optional(),
  /** External user ids that may be pinged; everyone else's mention is neutralised. */
  mentions: z.array(z.string()).optional(),
  /** How much attention it asks for: `low` is silent, `urgent` pings those in `mentions` and looks the part. */
  priority: z.enum(['low', 'normal', 'high', 'urgent']).optional(),
  /** External user id of the only person to see it, where the channel can; elsewhere everyone there sees it. */
  ephemeralTo: z.string().optional(),
  /** The next message in reply is the answer to this one; shown as an open reply where the platform can. */
  asksReply: z.boolean().optional(),
  /** Interaction this answers, for platforms where a command wants its own reply; worthless once expired. */
  interactionToken: z.string().optional(),
  /** Shows an answer that is being written: marks that are still open are closed for this view. */
  isUnfinished: z.boolean().optional(),
  /** Draft id of a live preview (31-bit, not 0) that this message replaces. */
  draftId: z.number().int().optional(),
});

export type Button = z.infer<typeof buttonSchema>;
export type OutboundPart = z.infer<typeof outboundPartSchema>;
export type OutboundBody = z.infer<typeof outboundBodySchema>;

/** What a message is for: decides pacing, age limit and whether it may be dropped when it is stale. */
export type Importance = 'result' | 'approval' | 'progress' | 'notice' | 'digest';
