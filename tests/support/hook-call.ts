import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import type { HookCall } from '#workers/hooks/turn-hooks.ts';

/** A tool call as hooks are given it. */
export function hookCall(rest: Partial<HookCall> = {}): HookCall {
  return {
    agent: {
      ...agentFrontMatterSchema.parse({ name: 'assistant', description: 'd' }),
      prompt: 'p',
      version: 'v',
      source: 'assistant.md',
    },
    work: {
      turnId: '01990000-0000-7000-8000-000000000001',
      sessionId: '01990000-0000-7000-8000-000000000002',
      kind: 'message',
      agentName: 'assistant',
      agentVersion: 'v',
      origin: { channel: 'telegram', account: 'bot', room: '1001', kind: 'dm', personId: 'p1' },
      messages: [],
      attempts: 1,
      crashes: 0,
    },
    tool: 'exec',
    callKey: '1:call_1',
    args: { command: 'ls' },
    endedCalls: () => [],
    ...rest,
  };
}
