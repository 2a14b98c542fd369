import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';
import { memoryScope, saveFact } from '#core/memory/memory-store.ts';
import type { Tool } from './tool.ts';

const parameters = z.strictObject({ text: z.string().min(1).max(4000).describe('The fact, as one full sentence.') });

/** Remembers a fact across conversations, in the scope the server computes from where the request came from. */
export function memorySaveTool(deps: { readonly db: Db }): Tool<z.infer<typeof parameters>> {
  return {
    name: 'memory_save',
    description: 'Remember a fact across conversations. Save only what a person asked for or will need again.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ text }) => ({
      action: 'memory.write',
      resource: 'memory',
      risk: 'low',
      summary: `Remember: ${text.slice(0, 200)}`,
    }),
    run: async ({ text }, context) => {
      await saveFact(deps.db, {
        scope: memoryScope(context.origin),
        agentName: context.agent.name,
        text,
        sessionId: context.sessionId,
        turnId: context.turnId,
        createdBy: context.origin.personId,
      });
      return { text: `Remembered: ${text}`, isError: false };
    },
  };
}
