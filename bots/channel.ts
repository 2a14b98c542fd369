import type { ChannelRoute } from '#core/inbox/channel-route.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';

/** Stores one raw platform event. Resolves only after commit: the platform may be told only then that we have it. */
export type Ingest = (events: readonly RawEvent[]) => Promise<void>;

/** A platform event as it came over the wire, with the key that makes its second arrival harmless. */
export interface RawEvent {
  readonly dedupKey: string;
  readonly raw: unknown;
}

export interface CommandSpec {
  readonly name: string;
  readonly description: string;
  /** In the order in which they stand in `args`; absent for a command without any. */
  readonly options?: readonly CommandOption[];
}

interface CommandOption {
  readonly name: string;
  readonly description: string;
  readonly isRequired?: boolean;
  /** The only values there are. */
  readonly choices?: readonly string[];
  /** Where suggestions for what is being typed come from. */
  readonly suggest?: SuggestionSource;
}

export type SuggestionSource = 'agents' | 'workflows' | 'approvals';

/** Up to 25 values that begin with or contain what was typed so far. Fast: the platform waits three seconds at most. */
export type Suggest = (source: SuggestionSource, typed: string) => Promise<readonly string[]>;

/** A small form (modal) that comes back as an inbound `form` event with the same token. */
export interface FormSpec {
  readonly token: string;
  /** At most 45 characters are shown on every platform. */
  readonly title: string;
  readonly submitLabel: string;
  readonly fields: readonly {
    readonly name: string;
    readonly label: string;
    readonly isLong: boolean;
    readonly isRequired: boolean;
    readonly charsMax: number;
  }[];
}

export interface ChannelHealth {
  readonly state: 'starting' | 'connected' | 'standby' | 'disconnected' | 'halted';
  readonly detail: string;
}

/** A chat platform connection. The contract suite in `tests/support/channel-contract.ts` holds for every one. */
export interface Channel extends ChannelSender {
  /** Connects and feeds `ingest` until the signal aborts; resolves when it has stopped and confirmed what it stored. */
  run(ingest: Ingest, signal: AbortSignal): Promise<void>;
  /** Raw event to neutral events. Pure; an unknown event gives an empty list, never a throw. */
  normalise(raw: unknown): readonly InboundEvent[];
  /**
   * Answers a button press or command; best effort. A channel whose platform sets a deadline acknowledges by itself,
   * without words, when neither this nor `openForm` was called in time.
   */
  acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void>;
  /** Opens a form over a press or command. @returns false when the platform has none or it is too late for one. */
  openForm?(interactionToken: string, form: FormSpec): Promise<boolean>;
  /**
   * Makes a thread (or topic) of its own for a piece of work that was asked for in a room's main stream, below
   * `messageId` or below a new first message. Repeating it with the same `key` gives the same thread.
   * @returns undefined where the room has no threads.
   */
  startThread?(
    conversation: Conversation,
    options: {
      readonly title: string;
      readonly key: string;
      readonly messageId?: string;
      /** External id of who asked: where the bot may not write in the room, the thread is made in private with them. */
      readonly requester?: string;
    },
  ): Promise<Conversation | undefined>;
  /** Shows a person's home page (Slack App Home). */
  showHome?(externalId: string, body: OutboundBody): Promise<void>;
  /** Web hooks of this channel; they answer 503 until `run` was called. */
  readonly routes?: readonly ChannelRoute[];
  /** Makes the platform's command list equal to `commands`. */
  registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }>;
  health(): ChannelHealth;
}
