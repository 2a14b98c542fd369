import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';

export const directivePriorities = ['critical', 'high', 'medium', 'low'] as const;
export type DirectivePriority = (typeof directivePriorities)[number];

/** A standing instruction of the operator, from `directives:` in `switchyard.yaml`. */
export interface Directive {
  readonly title: string;
  readonly text: string;
  readonly priority: DirectivePriority;
  readonly isActive: boolean;
  /** Only these agents; all unless told. */
  readonly agents: readonly string[] | undefined;
}

/** More standing instructions than this are not followed anyway. */
const directivesMax = 5;

/** Puts the most important active directives into the prompt, at most five, none below the chosen priority. */
export function directivesHook(directives: readonly Directive[], lowest: DirectivePriority): Hook {
  const rank = (priority: DirectivePriority): number => directivePriorities.indexOf(priority);
  return {
    ...builtIn('directives'),
    context: ({ agent }) => {
      const own = directives
        .filter((directive) => directive.isActive && rank(directive.priority) <= rank(lowest))
        .filter(({ agents }) => agents === undefined || agents.includes(agent.name))
        .map((directive, index) => ({ directive, index }))
        .sort((a, b) => rank(a.directive.priority) - rank(b.directive.priority) || a.index - b.index)
        .slice(0, directivesMax);
      if (own.length === 0) return [];
      const lines = own.map(({ directive: { priority, title, text } }) => `- [${priority}] ${title}: ${text}`);
      return [{ title: 'Directives of the operator', text: lines.join('\n') }];
    },
  };
}
