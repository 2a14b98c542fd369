import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { type Json, jsonSchema } from '#core/kit/json.ts';
import type { ModelTool } from '#core/models/model-port.ts';
import type { Tool } from '../tools/tool.ts';

/** A tool's schema does not change while a process runs; converting it for each call would cost more than the call. */
const schemas = new WeakMap<Tool, Json>();

/** The tools of an agent as models see them, sorted by name so that the prompt prefix stays the same. */
export function toModelTools(tools: ReadonlyMap<string, Tool>, agent: AgentProfile): ModelTool[] {
  return [...tools.keys()].sort().flatMap((name) => {
    const tool = tools.get(name);
    if (tool === undefined) return [];
    const description = tool.describe?.(agent) ?? tool.description;
    return [{ name, description, parameters: tool.inputSchema ?? schemaOf(tool) }];
  });
}

function schemaOf(tool: Tool): Json {
  const known = schemas.get(tool);
  if (known !== undefined) return known;
  const schema = lean(jsonSchema.parse(z.toJSONSchema(tool.parameters, { io: 'input' })));
  schemas.set(tool, schema);
  return schema;
}

/** Bounds that tell a model nothing it could act on. They are paid for with every request; arguments are checked here. */
const untold = new Set(['$schema', 'minLength', 'maxLength']);

/** A schema without what only a checker needs: about a fifth of its tokens. */
function lean(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(lean);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept = Object.entries(schema).filter(
    ([key, value]) =>
      !untold.has(key) &&
      !(key === 'additionalProperties' && value === false) &&
      !(key === 'maximum' && value === Number.MAX_SAFE_INTEGER),
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, key === 'properties' ? leanEach(value) : lean(value)]));
}

/** The keys of `properties` are names of arguments, whatever they are called. */
function leanEach(properties: Json): Json {
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return properties;
  return Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, lean(value)]));
}

/** A turn's draft id: 31 bits, never 0, the same on every worker, so that a resumed turn goes on with its draft. */
export function draftIdOf(turnId: string): number {
  return createHash('sha256').update(turnId).digest().readUInt32BE(0) & 0x7fffffff || 1;
}
