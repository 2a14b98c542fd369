import type { InboundFile } from '../inbox/inbound.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { OutboundBody } from './outbound.ts';

/** What a channel can do in a conversation; senders read this instead of asking which channel it is. */
export interface ChannelCapabilities {
  /** Longest text of one platform message, in UTF-16 units. */
  readonly textMax: number;
  /** More platform messages than this for one logical message become a head plus a file. */
  readonly partsMax: number;
  readonly canEdit: boolean;
  readonly canDelete: boolean;
  readonly nativeStream: 'draft' | 'append' | 'none';
  /** Shortest time between two edits in this conversation. */
  readonly editIntervalMs: number;
  /** Shortest time between two new messages in this conversation. */
  readonly sendIntervalMs: number;
  /** Longest button token in bytes; 0 when the channel has no buttons. */
  readonly buttonTokenBytesMax: number;
  readonly threads: 'topic' | 'thread' | 'none';
  readonly modal: boolean;
  readonly ephemeral: 'native' | 'interaction' | 'none';
  readonly reactions: boolean;
  /** Re-send the typing sign this often; 0 when the channel has none. */
  readonly typingIntervalMs: number;
  readonly uploadBytesMax: number;
  /** Largest file of a person that can be fetched; 0 when files cannot be fetched. */
  readonly downloadBytesMax: number;
  /** Buttons side by side in one row; 0 when the channel has none. */
  readonly buttonsPerRowMax: number;
  /** Where slash commands of the platform work; `text` channels read them from the message itself. */
  readonly commands: 'everywhere' | 'not-in-threads' | 'text';
  readonly tables: 'native' | 'code';
  /** How progress is shown apart from the answer. */
  readonly progress: 'card' | 'edited-message' | 'none';
  /** Whether a repeated send can be recognised: by the platform's nonce, by metadata look-up, or not at all. */
  readonly idempotentSend: 'nonce' | 'metadata' | 'none';
  /** How long the platform recognises a nonce; for ever unless told. */
  readonly nonceMs?: number;
  /** Whether all threads of a room share its intervals, as the topics of a Telegram group do; `room` unless told. */
  readonly pacedPer?: 'room' | 'thread';
  /** Calls the platform allows the whole account. Previews and reactions that find theirs used up are left out. */
  readonly budgets?: CallBudgets;
}

/** `any` counts every send and edit; the others count their own kind: new streams, additions to them, reactions. */
export type CallKind = 'any' | 'send' | 'edit' | 'stream' | 'append' | 'react';

/** Allowances by kind: `count` calls in any `perMs` milliseconds; a kind that is absent is not limited. */
export type CallBudgets = Readonly<Partial<Record<CallKind, { readonly count: number; readonly perMs: number }>>>;

/**
 * What an earlier try of the same send has posted already, and whom to tell about each further platform message. For an
 * edit `posted` is empty: what an earlier try added to the message is in its `ref`.
 */
export interface SendProgress {
  readonly posted: readonly string[];
  /** Resolves when it is remembered over a crash. */
  onPosted(platformId: string): Promise<void>;
}

/** A natively streamed message that grows by appending; only where `nativeStream` is `append`. */
export interface AnswerStream {
  /** Platform messages so far: a stream that reaches its limits goes on in another message. */
  readonly ref: MessageRef;
  /** Adds text. @throws what `classify` reads; the answer is then finished by an edit of `ref`. */
  append(markdown: string): Promise<void>;
}

/** A small reaction to a person's message that costs nobody a notification. */
export type ReactionSign = 'seen' | 'working' | 'done' | 'failed';

/** Platform ids of one logical message (it may be several platform messages). */
export interface MessageRef {
  readonly ids: readonly string[];
}

/** How the delivery loop reacts to a failed platform call. */
export interface SendFailure {
  readonly kind:
    | 'retry'
    | 'throttled'
    | 'gone'
    | 'unreachable'
    | 'too_big'
    | 'bad_format'
    | 'expired'
    | 'auth'
    | 'conflict'
    /** The platform may or may not have it: never blindly repeated where `idempotentSend` is none. */
    | 'unknown_outcome'
    /** An edit that changes nothing: counts as done. */
    | 'no_op'
    /** The room has a new id (group became supergroup). */
    | 'moved';
  readonly afterMs?: number;
  /** Whom a `throttled` call pauses: its room, unless told that it is the whole account. */
  readonly scope?: 'room' | 'account';
  readonly newRoom?: string;
  readonly reason: string;
}

/** The sending half of a channel, implemented in `bots/<channel>` and used by `workers/delivery`. */
export interface ChannelSender {
  readonly channel: string;
  readonly account: string;
  /** Shows stored files from our own table: files of a body then come as `blobId` without their bytes. */
  readonly takesBlobs?: boolean;
  capabilities(conversation: Conversation): ChannelCapabilities;
  /**
   * Posts a new logical message. `outboxId` is the idempotency key where the platform has one; with `progress` a message
   * of several parts goes on after those an earlier try has posted.
   */
  send(conversation: Conversation, body: OutboundBody, outboxId: string, progress?: SendProgress): Promise<MessageRef>;
  /** Makes an existing logical message equal to `body`; may add or delete platform messages to do so. */
  edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef>;
  delete(conversation: Conversation, ref: MessageRef): Promise<void>;
  /**
   * Deletes what a person wrote, where the platform lets a bot do that.
   * @returns false where it does not.
   */
  deleteMessage?(conversation: Conversation, messageId: string): Promise<boolean>;
  /** Shows an ephemeral preview of an answer that is being written. Best effort; only where `nativeStream` is draft. */
  draft(conversation: Conversation, draftId: number, markdown: string): Promise<void>;
  typing(conversation: Conversation): Promise<void>;
  /**
   * Starts a streamed answer to `recipient` (external id of who asked). Its final text is an `edit` of the stream's
   * `ref`, which also ends the stream. Only where `nativeStream` is `append`.
   */
  openStream?(conversation: Conversation, options: { readonly recipient?: string }): Promise<AnswerStream>;
  /** Shows or changes the sign on a person's message; undefined takes it away. Best effort. */
  react?(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void>;
  /** Where `idempotentSend` is `metadata`: the platform messages of a send whose outcome is unknown. */
  findSent?(conversation: Conversation, outboxId: string): Promise<MessageRef | undefined>;
  /**
   * Reads a file that came with a message. Never more than `downloadBytesMax` bytes.
   * @throws AppError `file.*` when it is gone, too large or not allowed to us.
   */
  download?(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  classify(error: unknown): SendFailure;
}
