import { hookNewsKinds } from './hook-news.ts';

/** What a hook of a project can take part in. */
export const userEvents = [
  'before_tool',
  'after_tool',
  'inject_context',
  'session_created',
  'session_idle',
  'session_error',
  'session_aborted',
  ...hookNewsKinds,
] as const;
export type UserEvent = (typeof userEvents)[number];

/** A hook as the thread found it. */
export interface FoundHook {
  readonly name: string;
  readonly priority: number;
  readonly agents: readonly string[] | undefined;
  readonly events: readonly UserEvent[];
  readonly file: string;
}

/** What the thread is started with. */
export interface ThreadData {
  readonly files: readonly string[];
  /** `file:` URL of the module that `switchyard/hooks` stands for. */
  readonly helpers: string;
}

export type ToThread =
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly hook: number;
      readonly event: UserEvent;
      readonly values: readonly unknown[];
    }
  | { readonly kind: 'cut'; readonly id: number }
  | { readonly kind: 'ping' };

export type FromThread =
  | { readonly kind: 'ready'; readonly hooks: readonly FoundHook[] }
  | { readonly kind: 'refused'; readonly problems: readonly string[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'thrown'; readonly id: number; readonly message: string; readonly stack: string }
  | { readonly kind: 'pong' };
