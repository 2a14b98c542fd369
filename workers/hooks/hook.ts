import type { ToolResult } from '../tools/tool.ts';
import type { HookNews, HookNewsKind } from './hook-news.ts';
import type { HookCall, HookedResult, HookTurn, PromptSection, ToolVerdict, TurnHookEvent } from './turn-hooks.ts';

/**
 * One hook: what it wants to take part in, and when. By convention 0 to 99 is security, 100 to 499 policy (a project's own
 * hooks have 200 unless they say otherwise), 500 to 899 shaping what is read, from 900 on telling and logging.
 */
export interface Hook {
  readonly name: string;
  /** Lower runs first; of equal ones the name decides. */
  readonly priority: number;
  /** `built in`, or the file it comes from. */
  readonly source: string;
  /** Only these agents; all unless told. */
  readonly agents?: readonly string[] | undefined;
  /** What one call may take; `hookMs` unless told. */
  readonly timeoutMs?: number;
  beforeTool?(call: HookCall, signal: AbortSignal): Promise<ToolVerdict> | ToolVerdict;
  afterTool?(call: HookedResult, result: ToolResult, signal: AbortSignal): Promise<ToolResult> | ToolResult;
  context?(turn: HookTurn, signal: AbortSignal): Promise<readonly PromptSection[]> | readonly PromptSection[];
  turnEvent?(event: TurnHookEvent): Promise<void> | void;
  /** What it is told of, one after the other; the next waits until it is done with the one before. */
  readonly news?: { readonly kinds: readonly HookNewsKind[]; tell(news: HookNews): Promise<void> | void };
}

/** What one call of a hook may take. */
export const hookMs = 5_000;

/** The order hooks run in. */
export function byPriority(a: Hook, b: Hook): number {
  return a.priority - b.priority || (a.name < b.name ? -1 : 1);
}
