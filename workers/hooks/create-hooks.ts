import type { TurnHooks } from './turn-hooks.ts';

/** Joins hooks into one: each sees what the one before left. */
export function createHooks(hooks: readonly TurnHooks[]): TurnHooks {
  return {
    beforeTool: async (call, signal) => {
      let { args } = call;
      for (const hook of hooks) {
        const verdict = await hook.beforeTool({ ...call, args }, signal);
        if (verdict.action === 'block') return verdict;
        if (verdict.action === 'modify') ({ args } = verdict);
      }
      return args === call.args ? { action: 'continue' } : { action: 'modify', args };
    },
    afterTool: async (call, result, signal) => {
      let last = result;
      for (const hook of hooks) last = await hook.afterTool(call, last, signal);
      return last;
    },
    context: async (turn) => (await Promise.all(hooks.map(async (hook) => await hook.context(turn)))).flat(),
    turnEvent: (event) => {
      for (const hook of hooks) hook.turnEvent(event);
    },
  };
}
