import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ToolResult } from '../tools/tool.ts';
import { byPriority, type Hook, hookMs } from './hook.ts';
import type { HookNews } from './hook-news.ts';
import { NewsQueue } from './news-queue.ts';
import type { HookTurn, TurnHooks } from './turn-hooks.ts';

/**
 * Joins hooks into one. Each sees what the one before left; the first block wins and nothing behind it is asked. A hook
 * that throws or takes too long is logged: before a tool it blocks the call, anywhere else it counts as having said
 * nothing. Disposing waits a moment for what hooks are still to be told.
 */
export function createHooks(deps: { readonly log: Log }, hooks: readonly Hook[]): TurnHooks & AsyncDisposable {
  const { log } = deps;
  const ordered = [...hooks].sort(byPriority);
  const of = ({ agent }: Pick<HookTurn, 'agent'>): readonly Hook[] =>
    ordered.filter(
      (hook) =>
        (hook.agents === undefined || hook.agents.includes(agent.name)) && !agent.hooks.disable.includes(hook.name),
    );
  const failed = (hook: Hook, where: string, turn: HookTurn, err: unknown): void => {
    log.error({ err, hook: hook.name, where, turnId: turn.work.turnId, agent: turn.agent.name }, 'hook failed');
  };
  const queues = new Map(
    ordered.map((hook) => [
      hook,
      new NewsQueue(deps, hook, async (news: HookNews) => {
        await bounded(hook, undefined, async () => await hook.news?.tell(news)).catch((err: unknown) =>
          failed(hook, news.kind, news, err),
        );
      }),
    ]),
  );
  return {
    beforeTool: async (call, signal) => {
      let { args } = call;
      for (const hook of of(call)) {
        const { beforeTool } = hook;
        if (beforeTool === undefined) continue;
        try {
          const seen = { ...call, args };
          const verdict = await bounded(hook, signal, async (own) => await beforeTool.call(hook, seen, own));
          if (verdict.action === 'block') {
            const { turnId } = call.work;
            log.info({ hook: hook.name, tool: call.tool, turnId, reason: verdict.reason }, 'hook blocked a call');
            return verdict;
          }
          if (verdict.action === 'modify') ({ args } = verdict);
        } catch (err) {
          if (!signal.aborted) failed(hook, 'before_tool', call, err);
          return {
            action: 'block',
            reason: `the hook "${hook.name}" failed, so it was not done. The operator can see why.`,
          };
        }
      }
      return args === call.args ? { action: 'continue' } : { action: 'modify', args };
    },
    afterTool: async (call, result, signal) => {
      let last: ToolResult = result;
      // It is no result yet: a person is asked first.
      if (result.waitsFor !== undefined) return result;
      for (const hook of of(call)) {
        const { afterTool } = hook;
        if (afterTool === undefined) continue;
        try {
          const before = last;
          last = await bounded(hook, signal, async (own) => await afterTool.call(hook, call, before, own));
        } catch (err) {
          if (!signal.aborted) failed(hook, 'after_tool', call, err);
        }
      }
      return last;
    },
    context: async (turn) => {
      const sections = of(turn).map(async (hook) => {
        try {
          return await bounded(hook, undefined, async (own) => (await hook.context?.(turn, own)) ?? []);
        } catch (err) {
          failed(hook, 'inject_context', turn, err);
          return [];
        }
      });
      return (await Promise.all(sections)).flat();
    },
    turnEvent: (event) => {
      for (const hook of of(event)) {
        if (hook.turnEvent === undefined) continue;
        // Nobody waits for it: the turn goes on, and what it throws is told here.
        void bounded(hook, undefined, async () => await hook.turnEvent?.(event)).catch((err: unknown) =>
          failed(hook, event.kind, event, err),
        );
      }
    },
    tell: (news) => {
      for (const hook of of(news)) if (hook.news?.kinds.includes(news.kind) === true) queues.get(hook)?.push(news);
    },
    wantsNews: (kind, agent) => of({ agent }).some((hook) => hook.news?.kinds.includes(kind) === true),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...queues.values()].map(async (queue) => await queue[Symbol.asyncDispose]()));
    },
  };
}

/** Gives a hook its time and no more; what it still does afterwards is nobody's concern. */
async function bounded<T>(
  hook: Hook,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const ms = hook.timeoutMs ?? hookMs;
  const cut = new AbortController();
  const own = signal === undefined ? cut.signal : AbortSignal.any([signal, cut.signal]);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    cut.abort();
    late.reject(new AppError('hook.invalid', `The hook "${hook.name}" took longer than ${ms / 1000} s.`));
  }, ms);
  const stop = (): void => late.reject(signal?.reason);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work(own), late.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}
