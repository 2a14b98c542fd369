import type { Log } from '#core/kit/log.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';
import type { HookCall, HookTurn } from './turn-hooks.ts';

/** Calls whose begin is remembered; what waits for a person for days must not pile up. */
const openMax = 5_000;

/**
 * Logs what happens: each call with its time and size, and how turns begin and end. Arguments and outputs are not
 * logged: they hold what people wrote.
 */
export function logToolsHook(deps: { readonly log: Log }): Hook {
  const begun = new Map<string, number>();
  const keyOf = (call: HookCall): string => `${call.work.turnId} ${call.callKey}`;
  const idsOf = ({ agent, work }: HookTurn) => ({ agent: agent.name, sessionId: work.sessionId, turnId: work.turnId });
  return {
    ...builtIn('tool-log'),
    beforeTool: (call) => {
      begun.delete(keyOf(call));
      begun.set(keyOf(call), performance.now());
      const [oldest] = begun.keys();
      if (begun.size > openMax && oldest !== undefined) begun.delete(oldest);
      return { action: 'continue' };
    },
    afterTool: (call, result) => {
      const from = begun.get(keyOf(call));
      begun.delete(keyOf(call));
      const ms = from === undefined ? undefined : Math.round(performance.now() - from);
      const { tool, callKey } = call;
      deps.log.info(
        { ...idsOf(call), tool, callKey, ms, isError: result.isError, chars: result.text.length },
        'tool called',
      );
      return result;
    },
    turnEvent: (event) => {
      const code = event.kind === 'failed' ? event.code : undefined;
      const isNewSession = event.kind === 'started' ? event.isNewSession : undefined;
      deps.log.info({ ...idsOf(event), state: event.kind, code, isNewSession }, 'turn event');
    },
  };
}
