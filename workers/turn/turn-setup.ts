import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { jsonSchema } from '#core/kit/json.ts';
import type { ModelTool } from '#core/models/model-port.ts';
import type { Tool } from '../tools/tool.ts';

/** A tool's schema does not change while a process runs; converting it for each call would cost more than the call. */
const modelTools = new WeakMap<Tool, ModelTool>();

/** The tools of an agent as models see them, sorted by name so that the prompt prefix stays the same. */
export function toModelTools(agent: AgentProfile, tools: ReadonlyMap<string, Tool>): ModelTool[] {
  return [...agent.tools].sort().flatMap((name) => {
    const tool = tools.get(name);
    if (tool === undefined) return [];
    const known = modelTools.get(tool);
    if (known !== undefined) return [known];
    const { $schema: _, ...schema } = z.toJSONSchema(tool.parameters, { io: 'input' });
    const made = { name, description: tool.description, parameters: jsonSchema.parse(schema) };
    modelTools.set(tool, made);
    return [made];
  });
}

/** A turn's draft id: 31 bits, never 0, the same on every worker, so that a resumed turn goes on with its draft. */
export function draftIdOf(turnId: string): number {
  return createHash('sha256').update(turnId).digest().readUInt32BE(0) & 0x7fffffff || 1;
}
