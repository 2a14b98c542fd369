import { expect } from 'vitest';
import { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { ModelEvent, ModelMessage } from '#core/models/model-port.ts';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { attack } from '#tests/support/attack.ts';
import type { Tool, ToolContext, ToolResult } from '#workers/tools/tool.ts';
import { redactModel } from '#workers/turn/redact-model.ts';
import { redactTools } from '#workers/turn/redact-tools.ts';
import type { AskModel, ModelAnswer, TurnWork } from '#workers/turn/turn-deps.ts';

const value = 'tool-"secret"-0123456789';
const awsKey = `AKIA${'IOSFODNN7EXAMPLE'}`;
const mark = '[redacted: token]';

const secrets = createSecretBook();
secrets.replace('test', [{ label: 'token', value }]);
const redactor = createRedactor({ secrets });
// Neither is looked at here.
const agent = {} as AgentProfile;
const work = {} as TurnWork;

/** Runs a tool that shows `pieces` and returns `result`. */
async function run(pieces: readonly string[], result: ToolResult): Promise<{ shown: string[]; result: ToolResult }> {
  const tool: Tool = {
    name: 'probe',
    description: 'Probes.',
    parameters: z.unknown(),
    isParallelSafe: false,
    isIdempotent: false,
    claim: () => ({ action: 'tool.exec', resource: 'x', risk: 'low', summary: 'x' }),
    run: async (_args, context) => {
      for (const piece of pieces) context.progress(piece);
      return await Promise.resolve(result);
    },
    park: async () => await Promise.resolve({ state: 'done', result }),
  };
  const tools = await redactTools(async () => await Promise.resolve(new Map([['probe', tool]])), redactor)(agent, work);
  const redacted = tools.get('probe');
  const shown: string[] = [];
  const context = { progress: (text: string) => void shown.push(text) } as unknown as ToolContext;
  const parked = await redacted?.park?.({}, context);
  const ended = await redacted?.run({}, context);
  expect(parked).toEqual({ state: 'done', result: ended });
  return { shown, result: ended ?? { text: '', isError: true } };
}

attack('secrets', 'a tool that answers with a secret', 'taken out of the result, whatever tool it was', async () => {
  const harmless = { text: 'nothing', isError: false };
  expect((await run([], harmless)).result).toBe(harmless);
  expect((await run([], { text: `a ${value} b ${awsKey}`, isError: true })).result).toEqual({
    text: `a ${mark} b [redacted: an AWS key]`,
    isError: true,
  });
});

attack('secrets', 'a secret in pieces of live output', 'held back until it is none', async () => {
  const output = `line one\nthe key ${value} and ${awsKey}\nlast line\n`;
  for (const length of [1, 5, 11, 30]) {
    const pieces = output.match(new RegExp(`[\\s\\S]{1,${length}}`, 'g')) ?? [];
    const { shown } = await run(pieces, { text: '', isError: false });
    expect(shown.join('')).toBe(`line one\nthe key ${mark} and [redacted: an AWS key]\nlast line\n`);
  }
});

interface Asked {
  readonly sent: readonly ModelMessage[];
  readonly heard: readonly ModelEvent[];
  readonly answer: ModelAnswer;
}

/** Asks a model that writes `deltas` and answers with `message`. */
async function ask(
  messages: readonly ModelMessage[],
  deltas: readonly string[],
  message: ModelMessage,
): Promise<Asked> {
  let sent: readonly ModelMessage[] = [];
  const heard: ModelEvent[] = [];
  const model: AskModel = async (request, options) => {
    sent = request.messages;
    options.onEvent({ type: 'text', delta: 'half of tool-"sec' });
    options.onRestart();
    for (const delta of deltas) options.onEvent({ type: 'text', delta });
    return await Promise.resolve({
      message,
      stop: 'stop',
      usage: { input: 1, cacheRead: 0, cacheWrite: 0, output: 1, reasoning: 0, source: 'provider' },
      costMicros: 0n,
      model: 'test',
      booked: Promise.resolve(),
    });
  };
  const answer = await redactModel(model, redactor)(
    { agent, work, messages, tools: [], round: 0 },
    {
      signal: new AbortController().signal,
      onEvent: (event) => heard.push(event),
      onRestart: () => heard.splice(0),
    },
  );
  return { sent, heard, answer };
}

attack('secrets', 'a secret in what a model is to read', 'no message with it reaches a model', async () => {
  const harmless: ModelMessage = { role: 'user', parts: [{ type: 'text', text: 'hello' }] };
  const picture: ModelMessage = {
    role: 'user',
    parts: [{ type: 'image', mime: 'image/png', dataBase64: `${awsKey}AAAA` }],
  };
  const result: ModelMessage = {
    role: 'tool',
    parts: [{ type: 'tool_result', callId: '1', text: `found ${value}`, isError: false }],
  };
  const call: ModelMessage = {
    role: 'assistant',
    parts: [
      {
        type: 'tool_call',
        id: '1',
        name: 'exec',
        rawArguments: JSON.stringify({ command: `echo\n${awsKey} ${value}` }),
        parsed: { ok: true, arguments: { command: `echo\n${awsKey} ${value}` } },
      },
    ],
    native: { wire: 'anthropic.messages', model: 'm', blocks: [{ text: value, signature: 'abc' }] },
  };
  const { sent } = await ask([harmless, picture, call, result], [], harmless);
  expect(sent[0]).toBe(harmless);
  expect(sent[1]).toBe(picture);
  const command = `echo\n[redacted: an AWS key] ${mark}`;
  // The provider's own blocks are signed: changed ones would be refused.
  expect(sent[2]).toEqual({
    role: 'assistant',
    parts: [
      {
        type: 'tool_call',
        id: '1',
        name: 'exec',
        rawArguments: JSON.stringify({ command }),
        parsed: { ok: true, arguments: { command } },
      },
    ],
  });
  expect(sent[3]).toEqual({
    role: 'tool',
    parts: [{ type: 'tool_result', callId: '1', text: `found ${mark}`, isError: false }],
  });
});

attack('secrets', 'a model that says a secret', 'taken out of every piece of its answer', async () => {
  const text = `It is ${value}, and ${awsKey}. Done`;
  const { heard, answer } = await ask([], [...text], { role: 'assistant', parts: [{ type: 'text', text }] });
  const clean = `It is ${mark}, and [redacted: an AWS key]. Done`;
  expect(heard.map((event) => (event.type === 'text' ? event.delta : '')).join('')).toBe(clean);
  expect(answer.message.parts).toEqual([{ type: 'text', text: clean }]);
});
