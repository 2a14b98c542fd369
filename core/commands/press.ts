import type { KnownEvent } from '../inbox/known-event.ts';

/** Takes a pressed button that is its own, ending the event. @returns false for any other token. */
export type PressHandler = (known: KnownEvent, token: string) => Promise<boolean>;

/**
 * The press of a button, offered to each kind of button in turn; tokens are random, so that no two kinds can be meant.
 * The last handler answers for what nobody knows.
 */
export function createPress(handlers: readonly PressHandler[]): (known: KnownEvent, token: string) => Promise<void> {
  return async (known, token) => {
    for (const handle of handlers) if (await handle(known, token)) return;
  };
}
