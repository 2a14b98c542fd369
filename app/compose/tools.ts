import type { Db } from '#core/kit/database.ts';
import { askPersonTool } from '#workers/tools/ask-person.ts';
import { memorySaveTool } from '#workers/tools/memory-save.ts';
import { memorySearchTool } from '#workers/tools/memory-search.ts';
import { type NotifyDeps, notifyTool } from '#workers/tools/notify.ts';
import { type SendFileDeps, sendFileTool } from '#workers/tools/send-file.ts';
import type { Tool } from '#workers/tools/tool.ts';
import { sandboxTools } from '#workers/tools/tool-registry.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';

/** Hands out an agent's tools: those its profile lists, and those that others bring (skills, MCP servers). */
export function createToolsOf(deps: { readonly db: Db } & SendFileDeps & NotifyDeps): TurnDeps['toolsOf'] {
  const all = createTools(deps);
  return async (agent) => new Map([...all].filter(([name]) => agent.tools.includes(name)));
}

/** Every tool a profile may list, by name. */
function createTools(deps: { readonly db: Db } & SendFileDeps & NotifyDeps): ReadonlyMap<string, Tool> {
  const tools: readonly Tool[] = [
    ...sandboxTools(),
    memorySaveTool(deps),
    memorySearchTool(deps),
    sendFileTool(deps),
    askPersonTool(deps),
    notifyTool(deps),
  ];
  return new Map(tools.map((tool) => [tool.name, tool]));
}

/** The names a profile may list, for checking files before a database is there. */
export const toolNames: readonly string[] = [
  ...sandboxTools().map((tool) => tool.name),
  'memory_save',
  'memory_search',
  'send_file',
  'ask_person',
  'notify',
];
