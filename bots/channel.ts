import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';

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
  /** Answers a button press or command within the platform's deadline; best effort. */
  acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void>;
  /** Makes the platform's command list equal to `commands`. */
  registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }>;
  health(): ChannelHealth;
}
