import { z } from 'zod';
import { jsonSchema } from '../kit/json.ts';

/** A file as its platform announced it; nothing of it is trusted. */
const attachedFileSchema = z.object({
  name: z.string(),
  fetchKey: z.string(),
  mime: z.string().optional(),
  bytes: z.number().optional(),
});

/** A stored file that holds a picture. */
const pictureSchema = z.object({ blobId: z.string(), mime: z.string() });

/** A file that was fetched, or why it was not. */
const receivedFileSchema = z.object({
  name: z.string(),
  /** By its content. */
  mime: z.string().optional(),
  bytes: z.number().optional(),
  /** Below the workspace; absent when there is no sandbox to put it in. */
  path: z.string().optional(),
  /** The content of a small text. */
  text: z.string().optional(),
  /** The file itself, for a picture that models can be shown. */
  picture: pictureSchema.optional(),
  /** One sentence. */
  problem: z.string().optional(),
});

export type AttachedFile = z.infer<typeof attachedFileSchema>;
export type ReceivedFile = z.infer<typeof receivedFileSchema>;

/**
 * The facts a turn writes into its session, in the order they happened. They are the truth a turn resumes from after a
 * crash and the history the next model call is built from.
 */
export const turnEventSchema = z.discriminatedUnion('kind', [
  /** What a person said; steered messages arrive as further ones of the same turn. */
  z.object({
    kind: z.literal('user_message'),
    /** The turn it was accepted as; a steered or collected message is recorded once, by this. */
    sourceTurnId: z.string(),
    text: z.string(),
    author: z.string(),
    messageId: z.string().optional(),
    files: z.array(attachedFileSchema).optional(),
  }),
  /** What became of the files of a message; written once, before a model reads it. */
  z.object({
    kind: z.literal('files_received'),
    sourceTurnId: z.string(),
    files: z.array(receivedFileSchema),
  }),
  /** What a model answered. `parts` is neutral, `native` the provider's own blocks for replay. */
  z.object({
    kind: z.literal('assistant_message'),
    parts: z.array(jsonSchema),
    native: jsonSchema.optional(),
    model: z.string(),
    stop: z.string(),
    usage: jsonSchema,
    costMicros: z.string(),
  }),
  /** Written before a tool runs: a start without an end is an unknown outcome after a crash. */
  z.object({ kind: z.literal('tool_started'), callId: z.string(), name: z.string() }),
  z.object({
    kind: z.literal('tool_finished'),
    callId: z.string(),
    name: z.string(),
    text: z.string(),
    isError: z.boolean(),
    /** How long it ran, in milliseconds; absent where it was not carried out. */
    ms: z.number().optional(),
    /** Pictures that belong to the result: stored files. */
    images: z.array(pictureSchema).optional(),
  }),
  z.object({ kind: z.literal('approval_requested'), callId: z.string(), approvalId: z.string(), summary: z.string() }),
  z.object({ kind: z.literal('question_asked'), callId: z.string(), questionId: z.string(), text: z.string() }),
  z.object({ kind: z.literal('notice'), text: z.string() }),
  z.object({ kind: z.literal('turn_ended'), state: z.string(), reason: z.string().optional() }),
]);

export type TurnEvent = z.infer<typeof turnEventSchema>;

/** What is stored on a turn row when a message is accepted. */
export const turnPayloadSchema = z.object({
  text: z.string(),
  author: z.string(),
  /** The author's id on the platform. */
  authorId: z.string().optional(),
  messageId: z.string().optional(),
  files: z.array(attachedFileSchema).optional(),
  /** When an agent wrote it: how many did so one after the other, and everybody whose words led there. */
  handOff: z.object({ hops: z.int(), people: z.array(z.string().nullable()) }).optional(),
});

export type TurnPayload = z.infer<typeof turnPayloadSchema>;
