import { resolveTargets } from '#core/broadcast/resolve-target.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';
import type { TurnHookEvent } from './turn-hooks.ts';

/** Turns whose begin is remembered; one that another worker took over is told by that one. */
const openMax = 5_000;
const minuteMs = 60_000;

export interface NotifyOperatorsOptions {
  /** Targets as in `approvals.notify`; the hook is there only with one at least. */
  readonly to: readonly string[];
  readonly onFailure: boolean;
  /** Answers that took at least this long are told; undefined for none. */
  readonly longMs: number | undefined;
}

/** Tells chosen people that a turn failed, or that one which took long is done. Says which and where, not what was said. */
export function notifyOperatorsHook(
  deps: { readonly db: Db; readonly clock: Clock; readonly log: Log },
  options: NotifyOperatorsOptions,
): Hook {
  const begun = new Map<string, number>();
  const now = (): number => deps.clock.now().getTime();
  const tell = async (event: TurnHookEvent, level: 'error' | 'info', what: string): Promise<void> => {
    const { agent, work } = event;
    const { places, problems } = await resolveTargets(deps.db, options.to);
    for (const problem of problems) deps.log.warn({ ...problem }, 'notification leads nowhere');
    const own = threadKey(work.origin);
    const markdown = `${agent.name} in ${work.origin.channel}:${work.origin.room}: ${what} (turn \`${work.turnId}\`).`;
    await putMessages(
      deps.db,
      // Whoever is in the thread reads the end of the turn there.
      places
        .filter(({ conversation }) => threadKey(conversation) !== own)
        .map(({ conversation }) => ({
          key: `notify:${work.turnId}:${level}:${threadKey(conversation)}`,
          conversation,
          importance: 'notice' as const,
          body: { parts: [{ type: 'notice' as const, level, markdown }] },
        })),
    );
  };
  return {
    ...builtIn('notification'),
    turnEvent: async (event) => {
      const { turnId } = event.work;
      const from = begun.get(turnId);
      switch (event.kind) {
        case 'started': {
          if (from === undefined) begun.set(turnId, now());
          const [oldest] = begun.keys();
          if (begun.size > openMax && oldest !== undefined) begun.delete(oldest);
          return;
        }
        case 'waiting':
          return;
        case 'aborted':
          begun.delete(turnId);
          return;
        case 'failed':
          begun.delete(turnId);
          if (options.onFailure) await tell(event, 'error', `failed with ${event.code}`);
          return;
        case 'idle': {
          begun.delete(turnId);
          const ms = from === undefined ? 0 : now() - from;
          if (options.longMs !== undefined && ms >= options.longMs) {
            await tell(event, 'info', `done after ${Math.max(1, Math.round(ms / minuteMs))} min`);
          }
        }
      }
    },
  };
}
