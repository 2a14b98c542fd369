import type { Db } from '#core/kit/database.ts';
import type { OutsideClient } from '#workers/egress/outside-client.ts';
import type { SearchWeb } from '#workers/egress/search-engines.ts';
import { askPersonTool } from '#workers/tools/ask-person.ts';
import { type BrowserToolDeps, browserTool } from '#workers/tools/browser.ts';
import { type GenerateImageDeps, generateImageTool } from '#workers/tools/generate-image.ts';
import { httpRequestTool } from '#workers/tools/http-request.ts';
import { memorySaveTool } from '#workers/tools/memory-save.ts';
import { memorySearchTool } from '#workers/tools/memory-search.ts';
import { type NotifyDeps, notifyTool } from '#workers/tools/notify.ts';
import { type SendFileDeps, sendFileTool } from '#workers/tools/send-file.ts';
import type { Tool } from '#workers/tools/tool.ts';
import { handToolNames, pictureTools, sandboxTools } from '#workers/tools/tool-registry.ts';
import { webFetchTool } from '#workers/tools/web-fetch.ts';
import { webSearchTool } from '#workers/tools/web-search.ts';
import type { TurnDeps } from '#workers/turn/turn-deps.ts';

/** How the tools reach the outside. */
interface OutsideDeps {
  readonly outside: OutsideClient;
  readonly searchWeb: SearchWeb;
}

/** Hands out an agent's tools: those its profile lists, and those that others bring (skills, MCP servers). */
export function createToolsOf(
  deps: { readonly db: Db } & SendFileDeps & NotifyDeps & OutsideDeps & BrowserToolDeps & GenerateImageDeps,
  others: readonly TurnDeps['toolsOf'][] = [],
): TurnDeps['toolsOf'] {
  const all = createTools(deps);
  return async (agent, work) => {
    const brought = await Promise.all(others.map(async (toolsOf) => await toolsOf(agent, work)));
    // Last, so that nothing that is brought along takes the place of one of ours.
    // What a call of the browser means depends on the page the session has open.
    const browser = browserTool(deps, work.sessionId);
    const own = [...all, [browser.name, browser] as const].filter(([name]) => agent.tools.includes(name));
    return new Map([...brought.flatMap((tools) => [...tools]), ...own]);
  };
}

/** Every tool a profile may list, by name. */
function createTools(
  deps: { readonly db: Db } & SendFileDeps & NotifyDeps & OutsideDeps & GenerateImageDeps,
): ReadonlyMap<string, Tool> {
  const tools: readonly Tool[] = [
    ...sandboxTools(),
    ...pictureTools(deps),
    memorySaveTool(deps),
    memorySearchTool(deps),
    sendFileTool(deps),
    generateImageTool(deps),
    askPersonTool(deps),
    notifyTool(deps),
    httpRequestTool(deps),
    webFetchTool(deps),
    webSearchTool(deps),
  ];
  return new Map(tools.map((tool) => [tool.name, tool]));
}

/** The names a profile may list, for checking files before a database is there. */
export const toolNames: readonly string[] = [
  ...handToolNames,
  'memory_save',
  'memory_search',
  'send_file',
  'generate_image',
  'ask_person',
  'notify',
  'browser',
  'http_request',
  'web_fetch',
  'web_search',
];
