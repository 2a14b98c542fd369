import { type AgentFrontMatter, type AgentProfile, agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import type { Origin } from '#core/sessions/origin.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import type { ToolContext } from '#workers/tools/tool.ts';

/** A profile of a test's own, with defaults for what it does not say. */
export function testAgent(frontMatter: Partial<Record<keyof AgentFrontMatter, unknown>> = {}): AgentProfile {
  return {
    ...agentFrontMatterSchema.parse({ name: 'tester', description: 'x', ...frontMatter }),
    prompt: '',
    version: '',
    source: 'tester.md',
  };
}

/** What a tool is run with; everything of the sandbox that is not given fails the test. */
export function toolContext(
  sandbox: Partial<Sandbox>,
  rest: Partial<Pick<ToolContext, 'agent' | 'signal' | 'progress' | 'turnId' | 'callKey'>> = {},
): ToolContext {
  const missing = async () => await Promise.reject(new Error('not expected'));
  const hands: Sandbox = {
    exec: missing,
    readFile: missing,
    readBytes: missing,
    writeFile: missing,
    listFiles: missing,
    searchFiles: missing,
    moveFile: missing,
    deleteFile: missing,
    start: missing,
    startJob: missing,
    readJob: missing,
    writeJob: missing,
    stopJob: missing,
    listJobs: missing,
    ...sandbox,
  };
  const origin: Origin = { channel: 'console', account: 'a', room: 'r', kind: 'dm', personId: 'p' };
  return {
    sessionId: 's',
    turnId: 't',
    callKey: '1:c',
    agent: testAgent({ sandbox: { timeout_seconds: 60 } }),
    origin,
    signal: new AbortController().signal,
    sandbox: async () => hands,
    progress: () => undefined,
    ...rest,
  };
}
