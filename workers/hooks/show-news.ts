import type { HookNews, TrajectoryStep } from './hook-news.ts';

const microsPerUsd = 1_000_000;

/** News as plain values that can be copied to another thread and written as JSON: money in USD, times as text. */
export function shownNews(news: HookNews) {
  switch (news.kind) {
    case 'job_claimed':
      return { event: news.kind, attempt: news.attempt };
    case 'job_completed':
      return { event: news.kind, state: news.state, code: news.code };
    case 'turn_trajectory':
      return {
        event: news.kind,
        state: news.state,
        steps: news.steps.map(shownStep),
        droppedSteps: news.droppedSteps,
      };
    case 'model_usage': {
      const { model, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, isEstimated } = news;
      return {
        event: news.kind,
        model,
        inputTokens,
        outputTokens,
        cacheReadTokens,
        cacheWriteTokens,
        isEstimated,
        usd: toUsd(news.costMicros),
      };
    }
    case 'budget_warning':
      return {
        event: news.kind,
        period: news.period,
        spentUsd: toUsd(news.spentMicros),
        limitUsd: toUsd(news.limitMicros),
        resetsAt: news.resetsAt.toISOString(),
      };
    case 'approval_requested': {
      const { kind: event, approvalId: approval, tool, callKey: call, summary, risk } = news;
      return { event, approval, tool, call, summary, risk };
    }
    case 'approval_decided': {
      const { kind: event, approvalId: approval, tool, callKey: call, verdict, by, reason } = news;
      return { event, approval, tool, call, verdict, by, reason };
    }
  }
}

function shownStep(step: TrajectoryStep) {
  if (step.kind === 'tool') return { ...step, at: step.at.toISOString() };
  const { costMicros, at, ...rest } = step;
  return { ...rest, at: at.toISOString(), usd: toUsd(costMicros) };
}

/** Micro-USD of one period fit a double with room to spare. */
function toUsd(micros: bigint): number {
  return Number(micros) / microsPerUsd;
}
