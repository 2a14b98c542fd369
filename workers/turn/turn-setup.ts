import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Json, jsonSchema } from '#core/kit/json.ts';
import type { ModelTool } from '#core/models/model-port.ts';
import type { Tool } from '../tools/tool.ts';

/** A tool's schema does not change while a process runs; converting it for each call would cost more than the call. */
const modelTools = new WeakMap<Tool, ModelTool>();

/** The tools of an agent as models see them, sorted by name so that the prompt prefix stays the same. */
export function toModelTools(tools: ReadonlyMap<string, Tool>): ModelTool[] {
  return [...tools.keys()].sort().flatMap((name) => {
    const tool = tools.get(name);
    if (tool === undefined) return [];
    const known = modelTools.get(tool);
    if (known !== undefined) return [known];
    const made = { name, description: tool.description, parameters: tool.inputSchema ?? schemaOf(tool) };
    modelTools.set(tool, made);
    return [made];
  });
}

function schemaOf(tool: Tool): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(tool.parameters, { io: 'input' });
  return jsonSchema.parse(schema);
}

/** A turn's draft id: 31 bits, never 0, the same on every worker, so that a resumed turn goes on with its draft. */
export function draftIdOf(turnId: string): number {
  return createHash('sha256').update(turnId).digest().readUInt32BE(0) & 0x7fffffff || 1;
}
