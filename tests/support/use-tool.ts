import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { Db } from '#core/kit/database.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import type { ToolContext, ToolResult } from '#workers/tools/tool.ts';
import { pictureTools, sandboxTools } from '#workers/tools/tool-registry.ts';
import { testAgent, toolContext } from './tool-context.ts';

type UseTool = (name: string, args: unknown, rest?: Partial<ToolContext>) => Promise<ToolResult>;

/** Calls tools by name in a real sandbox as a turn does; each call has a key of its own. */
export function toolUser(deps: {
  readonly db: Db;
  readonly sandbox: () => Sandbox;
  readonly agent?: AgentProfile;
  readonly progress?: (text: string) => void;
}): UseTool {
  const tools = new Map([...sandboxTools(), ...pictureTools(deps)].map((tool) => [tool.name, tool]));
  const agent = deps.agent ?? testAgent({ grants: [{ allow: '*' }] });
  let calls = 0;
  return async (name, args, rest = {}) => {
    const tool = tools.get(name);
    if (tool === undefined) throw new Error(`no tool ${name}`);
    calls += 1;
    const context: ToolContext = {
      ...toolContext(
        {},
        { agent, callKey: `1:${calls}`, ...(deps.progress === undefined ? {} : { progress: deps.progress }) },
      ),
      sandbox: async () => deps.sandbox(),
      ...rest,
    };
    const given = tool.parameters.parse(args);
    const prepared = tool.prepare === undefined ? given : await tool.prepare(given, context);
    return await tool.run(prepared, context);
  };
}
