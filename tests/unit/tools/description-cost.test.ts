import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createToolsOf, toolNames } from '#app/compose/tools.ts';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { loadAgents } from '#core/agents/load-agents.ts';
import { estimateToolTokens } from '#core/models/estimate-tokens.ts';
import type { ModelTool } from '#core/models/model-port.ts';
import { testAgent } from '#tests/support/tool-context.ts';
import { toModelTools } from '#workers/turn/turn-setup.ts';

/** Tokens one definition may cost, by our own estimate, which lies above every vendor's count. */
const toolTokensMax = 700;
/** One tool that does what a dozen would cost three times as much for. */
const ownTokensMax: Readonly<Record<string, number>> = { browser: 1_500 };
/** Tokens all definitions of a bundled agent may cost; they are sent with every request. */
const agentTokensMax = 6_500;

const schemaShape = z.object({
  type: z.literal('object'),
  properties: z.record(z.string(), z.object({ description: z.string().optional() }).loose()).optional(),
  required: z.array(z.string()).optional(),
});

/** Tools only keep what they are given until they run. */
const everything = {} as Parameters<typeof createToolsOf>[0];
const toolsOf = async (agent: AgentProfile): Promise<ModelTool[]> =>
  toModelTools(await createToolsOf(everything)(agent, {} as never), agent);

let all: ModelTool[];
let bundled: readonly AgentProfile[];
beforeAll(async () => {
  all = await toolsOf(testAgent({ tools: [...toolNames] }));
  bundled = await loadAgents({ folders: [path.resolve('agents')], knownTools: toolNames });
});

const cost = (tools: readonly ModelTool[]): number => tools.reduce((sum, tool) => sum + estimateToolTokens(tool), 0);

describe('what a tool costs', () => {
  test('every name a profile may list is a tool', () => {
    expect(all.map((tool) => tool.name)).toEqual([...toolNames].sort());
  });

  test('no definition costs more than its share', () => {
    const dear = all.filter((tool) => estimateToolTokens(tool) > (ownTokensMax[tool.name] ?? toolTokensMax));
    expect(dear.map((tool) => `${tool.name}: ${estimateToolTokens(tool)}`)).toEqual([]);
  });

  test('the tools of each bundled agent stay below the total', async () => {
    for (const agent of bundled) expect(cost(await toolsOf(agent)), agent.name).toBeLessThan(agentTokensMax);
  });

  test('bounds that only a checker needs are not told', () => {
    expect(JSON.stringify(all)).not.toMatch(/"(?:minLength|maxLength|\$schema)"/);
  });
});

describe('what a tool says', () => {
  test('every argument is described', () => {
    const wrong = all.flatMap((tool) =>
      Object.entries(schemaShape.parse(tool.parameters).properties ?? {})
        .filter(([, { description = '' }]) => description.trim() === '')
        .map(([name]) => `${tool.name}.${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test('nothing is promised that is no argument of the tool and no other tool', () => {
    const names = new Set(all.map((tool) => tool.name));
    const wrong = all.flatMap((tool) => {
      const schema = schemaShape.parse(tool.parameters);
      const own = new Set(Object.keys(schema.properties ?? {}));
      const texts = [tool.description, ...Object.values(schema.properties ?? {}).map((each) => each.description ?? '')];
      return texts.flatMap((text) =>
        [...text.matchAll(/\b[a-z]+(?:_[a-z]+)+\b/g)]
          .map(([word]) => word)
          .filter((word) => !own.has(word) && !names.has(word) && word !== 'node_modules')
          .map((word) => `${tool.name}: ${word}`),
      );
    });
    expect(wrong).toEqual([]);
  });

  test('what has a default may be left out, and only that', () => {
    const wrong = all.flatMap((tool) => {
      const { properties = {}, required = [] } = schemaShape.parse(tool.parameters);
      return required
        .filter((name) => /\bdefault\b/i.test(properties[name]?.description ?? ''))
        .map((name) => `${tool.name}.${name}`);
    });
    expect(wrong).toEqual([]);
  });

  test('the network of the sandbox is told as the agent has it', async () => {
    const described = async (network: string) =>
      (await toolsOf(testAgent({ tools: ['exec'], sandbox: { network } })))[0]?.description;
    expect(await described('none')).toContain('without network');
    expect(await described('gateway')).toContain('allowed hosts');
  });
});
