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
  /** Whether a repeated send can be recognised: by the platform's nonce, by metadata look-up, or not at all. */
  readonly idempotentSend: 'nonce' | 'metadata' | 'none';
}

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
  readonly newRoom?: string;
  readonly reason: string;
}

/** The sending half of a channel, implemented in `bots/<channel>` and used by `workers/delivery`. */
export interface ChannelSender {
  readonly channel: string;
  readonly account: string;
  capabilities(conversation: Conversation): ChannelCapabilities;
  /** Posts a new logical message. `outboxId` is the idempotency key where the platform has one. */
  send(conversation: Conversation, body: OutboundBody, outboxId: string): Promise<MessageRef>;
  /** Makes an existing logical message equal to `body`; may add or delete platform messages to do so. */
  edit(conversation: Conversation, ref: MessageRef, body: OutboundBody, outboxId: string): Promise<MessageRef>;
  delete(conversation: Conversation, ref: MessageRef): Promise<void>;
  /** Shows an ephemeral preview of an answer that is being written. Best effort; only where `nativeStream` is draft. */
  draft(conversation: Conversation, draftId: number, markdown: string): Promise<void>;
  typing(conversation: Conversation): Promise<void>;
  classify(error: unknown): SendFailure;
}
