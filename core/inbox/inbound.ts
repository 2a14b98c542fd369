import type { Conversation } from '../sessions/origin.ts';

/** Who did something on a platform, as the platform says it; not yet a person of ours. */
export interface Actor {
  readonly externalId: string;
  readonly displayName: string;
  readonly isBot: boolean;
  /** Anonymous admins and channel posts cannot be authorised. */
  readonly isAnonymous: boolean;
  /** Had proven to be the operator when the event was stored; believed only of channels of our own. */
  readonly isOperator?: boolean;
  /** Of another workspace (Slack Connect) or a guest by a user install: never authorised by a room or role list. */
  readonly isExternal?: boolean;
  /** Platform ids of the roles or user groups the actor has where this happened. */
  readonly roles?: readonly string[];
}

interface InboundBase {
  readonly conversation: Conversation;
  readonly actor: Actor;
  /** When the platform says it happened. */
  readonly occurredAt: Date;
  readonly messageId?: string;
  /** Platform id of the message this one answers. */
  readonly replyToId?: string;
  /** What `Channel.acknowledge` and `Channel.openForm` need; short-lived. */
  readonly interactionToken?: string;
  /**
   * The platform's own count of events, where deliveries can overtake each other: events of a thread are then routed in
   * this order, as far as they come within a short while.
   */
  readonly sequence?: number;
  /** It came so late that something of its thread that was sent after it has been routed before. */
  readonly isLate?: boolean;
}

/** A file that came with a message; `fetchKey` is opaque and never a URL that carries a token. */
export interface InboundFile {
  readonly name: string;
  readonly mime?: string;
  readonly bytes?: number;
  readonly fetchKey: string;
}

/** Every neutral event a channel can produce. */
export type InboundEvent = InboundBase &
  (
    | {
        readonly type: 'message';
        readonly text: string;
        /** How the bot was addressed; `none` in a group is not for us. */
        readonly addressed: 'dm' | 'mention' | 'reply' | 'thread' | 'none';
        readonly files: readonly InboundFile[];
        /** Messages of one conversation with the same album id are one message that came in pieces. */
        readonly albumId?: string;
      }
    | { readonly type: 'edit'; readonly text: string; readonly files?: readonly InboundFile[] }
    | { readonly type: 'delete' }
    | {
        readonly type: 'command';
        readonly name: string;
        readonly args: string;
        /** Values of typed options, by name; `args` says the same as text. */
        readonly options?: Readonly<Record<string, string>>;
        /** Files that came with it, as with a command in a caption. */
        readonly files?: readonly InboundFile[];
        /** As for a message: the caption of an album may be a command. */
        readonly albumId?: string;
      }
    | {
        readonly type: 'action';
        /** Our opaque button token. */
        readonly token: string;
        readonly interactionToken: string;
        /** What was chosen in a select menu. */
        readonly values?: readonly string[];
      }
    | {
        readonly type: 'form';
        /** The opaque token the form was opened with. */
        readonly token: string;
        /** What was entered, by field name. */
        readonly values: Readonly<Record<string, string>>;
      }
    /** The platform's own stop control; `draftId` says which answer, where the platform knows. */
    | { readonly type: 'stop'; readonly draftId?: number }
    | { readonly type: 'reaction'; readonly emoji: string; readonly isAdded: boolean }
    /** A person opened the bot's home page (Slack App Home). */
    | { readonly type: 'home' }
    | {
        readonly type: 'membership';
        /** Of the bot itself in this room. */
        readonly change: 'joined' | 'left' | 'blocked' | 'unblocked' | 'migrated' | 'archived' | 'unarchived';
        readonly newRoom?: string;
      }
  );
