import { z } from 'zod';
import type { SearchWeb } from '../egress/search-engines.ts';
import { outsideData } from './outside-data.ts';
import type { Tool } from './tool.ts';

const countDefault = 8;
const snippetCharsMax = 600;

const parameters = z.strictObject({
  query: z.string().min(1).max(400).describe('What to look for, as one would type it.'),
  count: z.int().min(1).max(20).optional().describe(`Most results. Default: ${countDefault}.`),
  freshness: z.enum(['day', 'week', 'month', 'year']).optional().describe('Only what is at most this old.'),
});

/** Searches the web with the engine the operator set up. */
export function webSearchTool(deps: { readonly searchWeb: SearchWeb }): Tool<z.infer<typeof parameters>> {
  return {
    name: 'web_search',
    description:
      'Search the web. Returns titles, addresses and excerpts. To read a result use web_fetch, which reaches only hosts ' +
      'of the agent’s egress rules. Put no secrets or private details into the query: it goes to a search engine.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ query }) => ({
      action: 'web.search',
      resource: query,
      risk: 'low',
      summary: `Search the web for: ${query.slice(0, 200)}`,
    }),
    run: async ({ query, count = countDefault, freshness }, context) => {
      const { engine, results } = await deps.searchWeb({
        text: query,
        count,
        caller: { sessionId: context.sessionId, turnId: context.turnId, agent: context.agent.name },
        signal: context.signal,
        ...(freshness === undefined ? {} : { freshness }),
      });
      if (results.length === 0) return { text: `${engine} found nothing for that.`, isError: false };
      const lines = results.map(({ title, url, snippet, published }, index) => {
        const when = published === undefined ? '' : ` (${published.slice(0, 40)})`;
        return `${index + 1}. ${oneLine(title) || url}${when}\n   ${oneLine(url)}\n   ${oneLine(snippet).slice(0, snippetCharsMax)}`;
      });
      return { text: outsideData(`a search with ${engine}`, lines.join('\n')), isError: false };
    },
  };
}

/** Engines mark what they found with tags. */
function oneLine(text: string): string {
  return text
    .replaceAll(/<\/?(?:strong|b|em|mark)>/gi, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
