import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';
import { memoryScope, searchFacts } from '#core/memory/memory-store.ts';
import type { Tool } from './tool.ts';

const factsMax = 10;
const parameters = z.strictObject({ query: z.string().max(500).describe('Words to look for; empty for the newest.') });

/** Finds remembered facts by words, only within the scope of the request. */
export function memorySearchTool(deps: { readonly db: Db }): Tool<z.infer<typeof parameters>> {
  return {
    name: 'memory_search',
    description: 'Search what was remembered earlier. Returns one fact a line with its date, or says there is none.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ query }) => ({
      action: 'memory.read',
      resource: 'memory',
      risk: 'low',
      summary: `Search memory for: ${query.slice(0, 200)}`,
    }),
    run: async ({ query }, context) => {
      const facts = await searchFacts(deps.db, {
        scope: memoryScope(context.origin),
        text: query,
        rowsMax: factsMax,
      });
      if (facts.length === 0) return { text: 'Nothing is remembered about that.', isError: false };
      const lines = facts.map((fact) => `${fact.createdAt.toISOString().slice(0, 10)}: ${fact.text}`);
      return { text: lines.join('\n'), isError: false };
    },
  };
}
