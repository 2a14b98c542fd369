import type { Db } from '#core/kit/database.ts';
import { memorySaveTool } from '#workers/tools/memory-save.ts';
import { memorySearchTool } from '#workers/tools/memory-search.ts';
import type { Tool } from '#workers/tools/tool.ts';
import { sandboxTools } from '#workers/tools/tool-registry.ts';

/** Every tool an agent may be given, by name. */
export function createTools(deps: { readonly db: Db }): ReadonlyMap<string, Tool> {
  const tools: readonly Tool[] = [...sandboxTools(), memorySaveTool(deps), memorySearchTool(deps)];
  return new Map(tools.map((tool) => [tool.name, tool]));
}

/** The names a profile may list, for checking files before a database is there. */
export const toolNames: readonly string[] = [
  ...sandboxTools().map((tool) => tool.name),
  'memory_save',
  'memory_search',
];
