import { pino } from 'pino';
import { expect, test } from 'vitest';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { attack } from '#tests/support/attack.ts';
import { createHooks } from '#workers/hooks/create-hooks.ts';
import type { Hook } from '#workers/hooks/hook.ts';
import type { HookedResult } from '#workers/hooks/turn-hooks.ts';
import { hookCall } from '../../support/hook-call.ts';

const log = pino({ level: 'silent' });
const signal = new AbortController().signal;

function hook(name: string, rest: Partial<Hook> = {}): Hook {
  return { name, priority: 100, source: 'test', ...rest };
}

test('hooks run by priority and name, each sees what the one before left, and the first block ends it', async () => {
  const seen: string[] = [];
  const step = (name: string, priority: number): Hook =>
    hook(name, {
      priority,
      beforeTool: ({ args }) => {
        seen.push(`${name}:${JSON.stringify(args)}`);
        if (name === 'stop') return { action: 'block', reason: 'enough' };
        return { action: 'modify', args: { n: priority } };
      },
    });
  const hooks = createHooks({ log }, [
    step('late', 900),
    step('b', 2),
    step('a', 2),
    step('stop', 5),
    step('first', 1),
  ]);
  expect(await hooks.beforeTool(hookCall({ args: { n: 0 } }), signal)).toEqual({ action: 'block', reason: 'enough' });
  expect(seen).toEqual(['first:{"n":0}', 'a:{"n":1}', 'b:{"n":2}', 'stop:{"n":2}']);
  const without = createHooks({ log }, [step('b', 2), step('a', 1)]);
  expect(await without.beforeTool(hookCall({ args: { n: 0 } }), signal)).toEqual({ action: 'modify', args: { n: 2 } });
  expect(await createHooks({ log }, []).beforeTool(hookCall(), signal)).toEqual({ action: 'continue' });
});

attack('hooks', 'a hook made to throw or to hang', 'it blocks the call', async () => {
  const fails: Hook = hook('fails', {
    beforeTool: () => {
      throw new Error('secret detail');
    },
    afterTool: () => {
      throw new Error('x');
    },
    context: () => {
      throw new Error('x');
    },
    turnEvent: () => {
      throw new Error('x');
    },
  });
  const hangs: Hook = hook('hangs', {
    timeoutMs: 30,
    beforeTool: async () => await new Promise(() => undefined),
    afterTool: async () => await new Promise(() => undefined),
    context: async () => await new Promise(() => undefined),
  });
  for (const bad of [fails, hangs]) {
    const good = hook('good', { priority: 200, context: () => [{ title: 't', text: 'x' }] });
    const hooks = createHooks({ log }, [bad, good]);
    const verdict = await hooks.beforeTool(hookCall(), signal);
    expect(verdict).toEqual({ action: 'block', reason: expect.stringContaining(`the hook "${bad.name}" failed`) });
    expect(JSON.stringify(verdict)).not.toContain('secret detail');
    const result = { text: 'out', isError: false };
    const call: HookedResult = { ...hookCall(), sandbox: () => Promise.reject(new Error('none')) };
    expect(await hooks.afterTool(call, result, signal)).toEqual(result);
    expect(await hooks.context(hookCall())).toEqual([{ title: 't', text: 'x' }]);
    hooks.turnEvent({ ...hookCall(), kind: 'idle' });
  }
});

test('a turn that is stopped does not wait for a hook', async () => {
  const stop = new AbortController();
  const hooks = createHooks({ log }, [hook('slow', { beforeTool: async () => await new Promise(() => undefined) })]);
  const verdict = hooks.beforeTool(hookCall(), stop.signal);
  stop.abort(new Error('stopped'));
  expect(await verdict).toMatchObject({ action: 'block' });
  expect(await hooks.beforeTool(hookCall(), stop.signal)).toMatchObject({ action: 'block' });
});

test('a hook runs for the agents it names, and not for one that switches it off', async () => {
  const block = (name: string, rest: Partial<Hook>): Hook =>
    hook(name, { beforeTool: () => ({ action: 'block', reason: name }), ...rest });
  const agent = (name: string, disable: readonly string[] = []) => ({
    ...agentFrontMatterSchema.parse({ name, description: 'd', hooks: { disable } }),
    prompt: 'p',
    version: 'v',
    source: 's',
  });
  const hooks = createHooks({ log }, [block('one', { agents: ['coder'] }), block('two', { priority: 200 })]);
  const reasonFor = async (name: string, disable?: readonly string[]) =>
    await hooks.beforeTool(hookCall({ agent: agent(name, disable) }), signal);
  expect(await reasonFor('coder')).toEqual({ action: 'block', reason: 'one' });
  expect(await reasonFor('other')).toEqual({ action: 'block', reason: 'two' });
  expect(await reasonFor('coder', ['one'])).toEqual({ action: 'block', reason: 'two' });
  expect(await reasonFor('coder', ['one', 'two'])).toEqual({ action: 'continue' });
});

test('a call that still waits for a person is no output for hooks', async () => {
  const hooks = createHooks({ log }, [hook('change', { afterTool: () => ({ text: 'changed', isError: false }) })]);
  const waiting = { text: '', isError: false, waitsFor: { questionId: 'q', text: 'Well?' } };
  const call: HookedResult = { ...hookCall(), sandbox: () => Promise.reject(new Error('none')) };
  expect(await hooks.afterTool(call, waiting, signal)).toBe(waiting);
});
