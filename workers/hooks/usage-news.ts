import type { Usage } from '#core/models/model-port.ts';
import type { HookNews } from './hook-news.ts';
import type { HookTurn } from './turn-hooks.ts';

/** What is on the ledger of a model call, as hooks are told of it. */
export function usageNews(
  { agent, work }: HookTurn,
  { model, usage, costMicros }: { readonly model: string; readonly usage: Usage; readonly costMicros: bigint },
): HookNews {
  return {
    kind: 'model_usage',
    agent,
    work,
    model,
    inputTokens: usage.input,
    outputTokens: usage.output,
    cacheReadTokens: usage.cacheRead,
    cacheWriteTokens: usage.cacheWrite,
    isEstimated: usage.source === 'estimated',
    costMicros,
  };
}
