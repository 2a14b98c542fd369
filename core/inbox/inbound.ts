import type { Conversation } from '../sessions/origin.ts';

/** Who did something on a platform, as the platform says it; not yet a person of ours. */
export interface Actor {
  readonly externalId: string;
  readonly displayName: string;
  readonly isBot: boolean;
  /** Anonymous admins and channel posts cannot be authorised. */
  readonly isAnonymous: boolean;
}

interface InboundBase {
  readonly conversation: Conversation;
  readonly actor: Actor;
  /** When the platform says it happened. */
  readonly occurredAt: Date;
  readonly messageId?: string;
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
      }
    | { readonly type: 'edit'; readonly text: string }
    | { readonly type: 'command'; readonly name: string; readonly args: string }
    | {
        readonly type: 'action';
        /** Our opaque button token. */
        readonly token: string;
        /** What `Channel.acknowledge` needs. */
        readonly interactionToken: string;
      }
    | { readonly type: 'stop'; readonly draftId: number }
    | {
        readonly type: 'membership';
        readonly change: 'joined' | 'left' | 'blocked' | 'unblocked' | 'migrated';
        readonly newRoom?: string;
      }
  );
