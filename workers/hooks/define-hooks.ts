/**
 * What a project's own hooks are written with: `import { block, defineHooks, modify } from 'switchyard/hooks'`. Stands
 * alone: it is loaded into the thread that runs them, and its types into an editor.
 */

/** Where and for whom a turn works. */
export interface HookPlace {
  readonly agent: string;
  readonly session: string;
  readonly turn: string;
  readonly kind: 'message' | 'task';
  readonly channel: string;
  readonly room: string;
  /** Who asked: a person's id; undefined for somebody unknown. */
  readonly person: string | undefined;
}

/** A tool call, its arguments as they are checked and approved. */
export interface HookedCall extends HookPlace {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Names the call: the same in every pass over it, also after a crash. */
  readonly call: string;
  /** Aborts when the turn is stopped or the hook's time is up. */
  readonly signal: AbortSignal;
}

export interface HookedOutput {
  readonly text: string;
  readonly isError: boolean;
}

export interface SessionEvent extends HookPlace {
  readonly event: 'session_created' | 'session_idle' | 'session_error' | 'session_aborted';
  /** With `session_error`: the code of the error. */
  readonly code: string | undefined;
}

export interface Section {
  readonly title: string;
  readonly text: string;
}

interface Continue {
  readonly action: 'continue';
}

interface Block {
  readonly action: 'block';
  readonly reason: string;
}

interface Modify<T> {
  readonly action: 'modify';
  readonly value: T;
}

type Maybe<T> = T | undefined | Promise<T | undefined>;
type Told = undefined | Promise<undefined> | void | Promise<void>;

/** One hook: a name and the functions of the events it takes part in. What returns nothing goes on. */
export interface UserHook {
  /** `a-z`, digits and hyphens; for `hooks.disable` and messages. */
  readonly name: string;
  /** Lower runs first; 200 unless told. Below 100 is security, from 900 on logging. */
  readonly priority?: number;
  /** Only for these agents; for all unless told. */
  readonly agents?: readonly string[];
  /** Before permissions are asked, and again in each pass over a call that waits: must say the same for the same call. */
  before_tool?(call: HookedCall): Maybe<Continue | Block | Modify<Readonly<Record<string, unknown>>>>;
  /** Block withholds the output from the model. */
  after_tool?(call: HookedCall, output: HookedOutput): Maybe<Continue | Block | Modify<Partial<HookedOutput>>>;
  /** Parts of the system message. */
  inject_context?(place: HookPlace): Maybe<readonly Section[]>;
  session_created?(event: SessionEvent): Told;
  session_idle?(event: SessionEvent): Told;
  session_error?(event: SessionEvent): Told;
  session_aborted?(event: SessionEvent): Told;
}

/** Gives hooks their types. Export what it returns as `hooks`, or as the file's default. */
export function defineHooks(...hooks: readonly UserHook[]): readonly UserHook[] {
  return hooks;
}

/** Goes on unchanged; the same as returning nothing. */
export function proceed(): Continue {
  return { action: 'continue' };
}

/** Stops the call, or withholds its output; the model reads the reason. */
export function block(reason: string): Block {
  return { action: 'block', reason };
}

/** Other arguments, all of them, or another output. Arguments are checked and asked for like the model's own. */
export function modify<T>(value: T): Modify<T> {
  return { action: 'modify', value };
}
